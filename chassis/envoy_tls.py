"""TLS of the Envoy that hosts a service: its listener's transport socket, and who may call what.

Part of `envoy_bootstrap`. Its law: the names that may call stand in the bootstrap, never in a file that changes, so
that no rotation can lose them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from envoy_data_plane.envoy.config.core.v3 import (
    ApiVersion,
    ConfigSource,
    PathConfigSource,
    TransportSocket,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.rbac.v3 import Permission, PermissionSet, Policy, Principal, RbacAction
from envoy_data_plane.envoy.config.rbac.v3 import Rbac as Rules
from envoy_data_plane.envoy.extensions.filters.http.rbac.v3 import Rbac
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.extensions.rbac.principals.mtls_authenticated.v3 import Config as MtlsAuthenticated
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    CommonTlsContextCombinedCertificateValidationContext,
    DownstreamTlsContext,
    SdsSecretConfig,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    TlsParameters,
    TlsParametersTlsProtocol,
)
from envoy_data_plane.envoy.type.matcher.v3 import PathMatcher, RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any

from chassis.envoy_secrets import CERTIFICATE, CLIENT_CA, secret_path
from chassis.health import CHECK_METHOD
from chassis.tls import PeerRule, PeerSan, SanType, TlsOptions, peer_rules


def transport_socket(tls: TlsOptions, runtime_dir: Path) -> TransportSocket:
    """Return what makes a listener speak TLS, and nothing else, with the secrets in `runtime_dir`."""
    context = DownstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_params=TlsParameters(
                tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_2,
                tls_maximum_protocol_version=TlsParametersTlsProtocol.TLSv1_3,
            ),
            alpn_protocols=["h2"],
            tls_certificate_sds_secret_configs=[_secret(runtime_dir, CERTIFICATE)],
            combined_validation_context=_validation(tls, runtime_dir) if tls.is_mutual else None,
        ),
        require_client_certificate=tls.is_mutual,
        # A resumed session would spare its caller the check of a certificate that has expired meanwhile.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=Any.pack(context))


def _secret(runtime_dir: Path, name: str) -> SdsSecretConfig:
    source = ConfigSource(
        path_config_source=PathConfigSource(path=str(secret_path(runtime_dir, name))),
        resource_api_version=ApiVersion.V3,
    )
    return SdsSecretConfig(name=name, sds_config=source)


def _validation(tls: TlsOptions, runtime_dir: Path) -> CommonTlsContextCombinedCertificateValidationContext:
    return CommonTlsContextCombinedCertificateValidationContext(
        default_validation_context=CertificateValidationContext(
            match_typed_subject_alt_names=[_matcher(peer) for peer in tls.peers]
        ),
        validation_context_sds_secret_config=_secret(runtime_dir, CLIENT_CA),
    )


def _matcher(peer: PeerSan) -> SubjectAltNameMatcher:
    if peer.type is SanType.URI:
        return SubjectAltNameMatcher(san_type=SubjectAltNameMatcherSanType.URI, matcher=StringMatcher(exact=peer.value))
    # To an `exact` DNS name Envoy lets a certificate's wildcard fit; an expression must fit letter by letter.
    letters = RegexMatcher(regex=re.escape(peer.value))
    return SubjectAltNameMatcher(san_type=SubjectAltNameMatcherSanType.DNS, matcher=StringMatcher(safe_regex=letters))


def peer_filters(tls: TlsOptions | None) -> list[HttpFilter]:
    """Return the filters that keep callers to the methods that are theirs; none where nobody proves who he is."""
    if tls is None or not tls.is_mutual:
        return []
    rules = peer_rules(tls, CHECK_METHOD)
    named = [rule.method for rule in rules if rule.method is not None]
    policies = {rule.method or "other methods": _policy(rule, named) for rule in rules}
    # What no policy matches is refused: 403, which gRPC callers see as PERMISSION_DENIED.
    table = Rules(action=RbacAction.ALLOW, policies=policies)
    return [HttpFilter(name="envoy.filters.http.rbac", typed_config=Any.pack(Rbac(rules=table)))]


def _policy(rule: PeerRule, named: Sequence[str]) -> Policy:
    permission = _path(rule.method) if rule.method is not None else Permission(not_rule=_any_of(named))
    return Policy(permissions=[permission], principals=[_principal(peer) for peer in rule.peers])


def _any_of(methods: Sequence[str]) -> Permission:
    return Permission(or_rules=PermissionSet(rules=[_path(method) for method in methods]))


def _path(method: str) -> Permission:
    return Permission(url_path=PathMatcher(path=StringMatcher(exact=method)))


def _principal(peer: PeerSan) -> Principal:
    # Not `authenticated.principal_name`, which takes a name of any type.
    return Principal(
        custom=TypedExtensionConfig(
            name="envoy.rbac.principals.mtls_authenticated",
            typed_config=Any.pack(MtlsAuthenticated(san_matcher=_matcher(peer))),
        )
    )
