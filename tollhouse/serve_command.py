"""`tollhouse serve` on the command line: options and variables of `of.SETTINGS` become one `ServeRequest`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from policy.settings import ServiceSettings
from tollhouse import descriptor_options as counting
from tollhouse import event_options as hearing
from tollhouse import options as of
from tollhouse.serve import Compat, HostBounds, ServeRequest, ServiceName, TlsRequest, Transport, UsageError, serve


def serve_command(  # noqa: PLR0913 - one parameter an option
    service: Annotated[ServiceName, typer.Argument(help="Which service to run.")],
    listen: Annotated[str, of.LISTEN.option()],
    policies: Annotated[Path | None, of.POLICIES.option()] = of.POLICIES.default,
    descriptors: Annotated[Path | None, of.DESCRIPTORS.option()] = of.DESCRIPTORS.default,
    compat: Annotated[Compat | None, of.COMPAT.option()] = of.COMPAT.default,
    merge_domains: Annotated[bool, of.MERGE_DOMAINS.option()] = of.MERGE_DOMAINS.default,
    admin: Annotated[str | None, of.ADMIN.option()] = of.ADMIN.default,
    admin_token_file: Annotated[Path | None, of.ADMIN_TOKEN_FILE.option()] = of.ADMIN_TOKEN_FILE.default,
    transport: Annotated[Transport | None, of.TRANSPORT.option()] = of.TRANSPORT.default,
    store: Annotated[str, of.STORE.option()] = of.STORE.default,
    single_replica: Annotated[bool, of.SINGLE_REPLICA.option()] = of.SINGLE_REPLICA.default,
    store_wait_replicas: Annotated[int, of.STORE_WAIT_REPLICAS.option()] = of.STORE_WAIT_REPLICAS.default,
    store_username: Annotated[str, of.STORE_USERNAME.option()] = of.STORE_USERNAME.default,
    store_password_file: Annotated[Path | None, of.STORE_PASSWORD_FILE.option()] = of.STORE_PASSWORD_FILE.default,
    sentinel_password_file: Annotated[
        Path | None, of.SENTINEL_PASSWORD_FILE.option()
    ] = of.SENTINEL_PASSWORD_FILE.default,
    dpop_nonce_key_file: Annotated[Path | None, of.DPOP_NONCE_KEY_FILE.option()] = of.DPOP_NONCE_KEY_FILE.default,
    card_key_file: Annotated[Path | None, of.CARD_KEY_FILE.option()] = of.CARD_KEY_FILE.default,
    descriptor_key_file: Annotated[Path | None, of.DESCRIPTOR_KEY_FILE.option()] = of.DESCRIPTOR_KEY_FILE.default,
    jwks_snapshot: Annotated[Path | None, of.JWKS_SNAPSHOT.option()] = of.JWKS_SNAPSHOT.default,
    client_credentials_dir: Annotated[
        Path | None, of.CLIENT_CREDENTIALS_DIR.option()
    ] = of.CLIENT_CREDENTIALS_DIR.default,
    events: Annotated[str | None, hearing.EVENTS.option()] = hearing.EVENTS.default,
    events_tls_cert: Annotated[Path | None, hearing.EVENTS_TLS_CERT.option()] = hearing.EVENTS_TLS_CERT.default,
    events_tls_key: Annotated[Path | None, hearing.EVENTS_TLS_KEY.option()] = hearing.EVENTS_TLS_KEY.default,
    events_push_token_file: Annotated[
        Path | None, hearing.EVENTS_PUSH_TOKEN_FILE.option()
    ] = hearing.EVENTS_PUSH_TOKEN_FILE.default,
    unknown_domain: Annotated[str, counting.UNKNOWN_DOMAIN.option()] = counting.UNKNOWN_DOMAIN.default,
    descriptors_on_store_failure: Annotated[
        str, counting.DESCRIPTORS_ON_STORE_FAILURE.option()
    ] = counting.DESCRIPTORS_ON_STORE_FAILURE.default,
    store_per_second: Annotated[str, counting.STORE_PER_SECOND.option()] = counting.STORE_PER_SECOND.default,
    local_cache_size: Annotated[int, counting.LOCAL_CACHE_SIZE.option()] = counting.LOCAL_CACHE_SIZE.default,
    counter_prefix: Annotated[str, counting.COUNTER_PREFIX.option()] = counting.COUNTER_PREFIX.default,
    expiration_jitter_seconds: Annotated[
        int, counting.EXPIRATION_JITTER_SECONDS.option()
    ] = counting.EXPIRATION_JITTER_SECONDS.default,
    stop_increment_when_over: Annotated[
        bool, counting.STOP_INCREMENT_WHEN_OVER.option()
    ] = counting.STOP_INCREMENT_WHEN_OVER.default,
    shadow_mode: Annotated[bool, counting.SHADOW_MODE.option()] = counting.SHADOW_MODE.default,
    quota_mode: Annotated[bool, counting.QUOTA_MODE.option()] = counting.QUOTA_MODE.default,
    near_limit_ratio: Annotated[float, counting.NEAR_LIMIT_RATIO.option()] = counting.NEAR_LIMIT_RATIO.default,
    limit_headers: Annotated[str, counting.LIMIT_HEADERS.option()] = counting.LIMIT_HEADERS.default,
    descriptor_metadata: Annotated[bool, counting.DESCRIPTOR_METADATA.option()] = counting.DESCRIPTOR_METADATA.default,
    json_listen: Annotated[str, counting.JSON_LISTEN.option()] = counting.JSON_LISTEN.default,
    insecure_listen: Annotated[bool, of.INSECURE_LISTEN.option()] = of.INSECURE_LISTEN.default,
    tls_cert: Annotated[Path | None, of.TLS_CERT.option()] = of.TLS_CERT.default,
    tls_key: Annotated[Path | None, of.TLS_KEY.option()] = of.TLS_KEY.default,
    tls_client_ca: Annotated[Path | None, of.TLS_CLIENT_CA.option()] = of.TLS_CLIENT_CA.default,
    peer_san: Annotated[list[str] | None, of.PEER_SAN.option()] = of.PEER_SAN.default,
    outcome_peer_san: Annotated[list[str] | None, of.OUTCOME_PEER_SAN.option()] = of.OUTCOME_PEER_SAN.default,
    decision_log: Annotated[str, of.DECISION_LOG.option()] = of.DECISION_LOG.default,
    log_level: Annotated[str, of.LOG_LEVEL.option()] = of.LOG_LEVEL.default,
    errors_uri: Annotated[str, of.ERRORS_URI.option()] = of.ERRORS_URI.default,
    realm: Annotated[str, of.REALM.option()] = of.REALM.default,
    max_message_bytes: Annotated[int, of.MAX_MESSAGE_BYTES.option()] = of.MAX_MESSAGE_BYTES.default,
    default_timeout_seconds: Annotated[float, of.DEFAULT_TIMEOUT_SECONDS.option()] = of.DEFAULT_TIMEOUT_SECONDS.default,
    max_timeout_seconds: Annotated[float, of.MAX_TIMEOUT_SECONDS.option()] = of.MAX_TIMEOUT_SECONDS.default,
    drain_seconds: Annotated[float, of.DRAIN_SECONDS.option()] = of.DRAIN_SECONDS.default,
    lame_duck_seconds: Annotated[float, of.LAME_DUCK_SECONDS.option()] = of.LAME_DUCK_SECONDS.default,
) -> None:
    """Run one of the two services until SIGTERM or Ctrl-C; drains before it stops.

    Each option can also be set by the variable in brackets; docs/configuration.md has them all.
    """
    _check_variables()
    settings = ServiceSettings(
        policies=_name_of(policies),
        descriptors=_name_of(descriptors),
        descriptors_compat="" if compat is None else compat.value,
        merge_domains=merge_domains,
        unknown_domain=unknown_domain,
        descriptors_on_store_failure=descriptors_on_store_failure,
        store_per_second=store_per_second,
        local_cache_size=local_cache_size,
        descriptor_key_prefix=counter_prefix,
        expiration_jitter_seconds=expiration_jitter_seconds,
        stop_increment_when_over=stop_increment_when_over,
        shadow_mode=shadow_mode,
        quota_mode=quota_mode,
        near_limit_ratio=near_limit_ratio,
        limit_headers=limit_headers,
        descriptor_metadata=descriptor_metadata,
        json_listen=json_listen,
        store=store,
        decision_log=decision_log,
        log_level=log_level,
        errors_uri=errors_uri,
        realm=realm,
        card_key_file=_name_of(card_key_file),
        descriptor_key_file=_name_of(descriptor_key_file),
        store_password_file=_name_of(store_password_file),
        store_username=store_username,
        single_replica=single_replica,
        store_wait_replicas=store_wait_replicas,
        sentinel_password_file=_name_of(sentinel_password_file),
        dpop_nonce_key_file=_name_of(dpop_nonce_key_file),
        jwks_snapshot=_name_of(jwks_snapshot),
        client_credentials_dir=_name_of(client_credentials_dir),
        events=events or "",
        events_tls_cert=_name_of(events_tls_cert),
        events_tls_key=_name_of(events_tls_key),
        events_push_token_file=_name_of(events_push_token_file),
    )
    tls = TlsRequest(tls_cert, tls_key, tls_client_ca, tuple(peer_san or ()), tuple(outcome_peer_san or ()))
    bounds = HostBounds(
        max_message_bytes, default_timeout_seconds, max_timeout_seconds, drain_seconds, lame_duck_seconds
    )
    request = ServeRequest(service, listen, admin, transport, insecure_listen, tls, settings, bounds, admin_token_file)
    raise typer.Exit(_serve(request))


def _check_variables() -> None:
    for warning in of.unknown_variables(os.environ):
        typer.echo(f"tollhouse serve: {warning}", err=True)
    for problem in (problems := of.empty_variables(os.environ)):
        typer.echo(f"tollhouse serve: {problem}", err=True)
    if problems:
        raise typer.Exit(2)


def _serve(request: ServeRequest) -> int:
    try:
        return serve(request)
    except UsageError as error:
        typer.echo(f"tollhouse serve: {error}", err=True)
        return 2


def _name_of(path: Path | None) -> str:
    """Return the absolute name: the embedded process has another working directory."""
    return "" if path is None else str(path.absolute())
