"""Write the reference filter chain with TLS: `python -m tollhouse.envoy_tls_file envoy/tollhouse-tls.yaml`.

The chain has one source, envoy/tollhouse.yaml; what TLS adds is put in at lines that occur once. A change of the
reference that this does not expect stops it, and a test compares the written file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tollhouse.up.envoy_config import read_reference

SECRETS_DIRECTORY: Final = "/etc/tollhouse/sds"
"""Where the written file looks for the files of envoy/sds/."""

CERTIFICATES_DIRECTORY: Final = "/etc/tollhouse/tls"
"""Where the files of envoy/sds/ look for certificates and keys."""

_HEADER: Final = f"""\
# The reference filter chain with TLS: generated from envoy/tollhouse.yaml by scripts/docs; edit that file.
#
#   tollhouse dev-secrets {CERTIFICATES_DIRECTORY}   # or certificates of your own under the same names
#   cp envoy/sds/*.yaml {SECRETS_DIRECTORY}/
#   envoy -c envoy/tollhouse-tls.yaml
#
# What differs: callers reach the listener by TLS, and Envoy and the two services prove to each other who they are.
# Certificates are named in envoy/sds/; a new one is taken up without a restart. docs/tls.md says how to change one.
"""

_NODE: Final = "node: {id: gate, cluster: gate}  # secret discovery, from files too, wants to know who asks\n\n"

_LISTENER: Final = """\
    - transport_socket:  # no plain text: an access token that anybody on the way can read is anybody's
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}
            alpn_protocols: [h2, http/1.1]
            tls_certificate_sds_secret_configs:
            - name: gate
              sds_config: {path_config_source: {path: SECRETS/gate.yaml}, resource_api_version: V3}
      transport_socket_connect_timeout: 10s  # or connections that never finish TLS would keep everybody else out
      filters:
"""

_FIRST_SERVICE: Final = """\
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: extauthz
        max_session_keys: 0  # each connection is checked anew, never resumed on the word of an older check
        common_tls_context:
          tls_params: &service_tls {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
          alpn_protocols: [h2]
          tls_certificate_sds_secret_configs: &service_client  # who we are: the services let in this name alone
          - name: service_client
            sds_config: {path_config_source: {path: SECRETS/service_client.yaml}, resource_api_version: V3}
          combined_validation_context:
            default_validation_context:  # the right authority is not enough: this name, or another could give verdicts
              # To a name with dots a certificate's wildcard would fit as well: write that one as safe_regex.
              match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: extauthz}}]
            validation_context_sds_secret_config: &services_ca
              name: services_ca
              sds_config: {path_config_source: {path: SECRETS/services_ca.yaml}, resource_api_version: V3}
"""

_SECOND_SERVICE: Final = """\
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: ratelimit
        max_session_keys: 0
        common_tls_context:
          tls_params: *service_tls
          alpn_protocols: [h2]
          tls_certificate_sds_secret_configs: *service_client
          combined_validation_context:
            default_validation_context:  # not extauthz's name: neither service can stand in for the other
              match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: ratelimit}}]
            validation_context_sds_secret_config: *services_ca
"""

_PROTOCOL: Final = "    typed_extension_protocol_options: &service_protocol\n"


class ReferenceChanged(Exception):  # noqa: N818 - says what happened
    """The reference no longer holds the text that TLS is put in at; the message names it."""


def with_service_tls(reference: str, secrets: str = SECRETS_DIRECTORY) -> str:
    """Return the chain with mutual TLS between Envoy and the two services.

    Args:
        reference: The text of envoy/tollhouse.yaml, or of a copy with other addresses.
        secrets: Directory with the files of envoy/sds/, as Envoy sees it.

    Raises:
        ReferenceChanged: A line to put it in at is not there exactly once.
    """
    text = put_before(reference, "admin:\n", _NODE)
    first = _PROTOCOL + text.partition(_PROTOCOL)[2].partition("\n  - name: ")[0] + "\n"
    text = put_after(text, first, _FIRST_SERVICE.replace("SECRETS", secrets))
    return put_after(text, "    typed_extension_protocol_options: *service_protocol\n", _SECOND_SERVICE)


def with_listener_tls(reference: str, secrets: str = SECRETS_DIRECTORY) -> str:
    """Return the chain with a server certificate on its listener; arguments and errors as in `with_service_tls`."""
    plain = "    - filters:\n"
    return put_after(reference, plain, _LISTENER.replace("SECRETS", secrets)).replace(plain, "", 1)


def tls_reference(reference: str, secrets: str = SECRETS_DIRECTORY) -> str:
    """Return the whole file: TLS on every side that this chain has."""
    _, separator, chain = reference.partition("#\n# Order is the product")
    if not separator:
        raise ReferenceChanged("the end of the heading")
    return with_listener_tls(with_service_tls(_HEADER + separator + chain, secrets), secrets)


def put_after(text: str, line: str, more: str) -> str:
    """Return the text with `more` behind a line; raises ReferenceChanged where that does not occur once."""
    return _exchanged(text, line, line + more)


def put_before(text: str, line: str, more: str) -> str:
    """Return the text with `more` in front of a line; raises ReferenceChanged where that does not occur once."""
    return _exchanged(text, line, more + line)


def _exchanged(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ReferenceChanged(f"{old!r} occurs {text.count(old)} times instead of once")
    return text.replace(old, new)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(tls_reference(read_reference()), "utf-8")
