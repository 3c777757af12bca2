"""Write the filter chain in which Envoy verifies tokens: `python -m tollhouse.envoy_jwt_authn_file FILE`.

The chain has one source, envoy/tollhouse.yaml; the filter and what it needs are put in at lines that occur once. A
change of the reference that this does not expect stops it, and a test compares the written file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from policy.resource import METADATA_PATH
from tollhouse.envoy_tls_file import ReferenceChanged, put_before
from tollhouse.gateway_reasons import ACCESS_TOKEN
from tollhouse.up.envoy_config import read_reference

PAYLOAD_KEY: Final = "development_claims"
"""`payload_in_metadata` of the provider in providers.yaml that goes with the written file."""

_HEADER: Final = f"""\
# The reference filter chain where Envoy verifies tokens: generated from envoy/tollhouse.yaml by scripts/docs.
#
#   envoy -c envoy/tollhouse-jwt-authn.yaml
#   tollhouse envoy check envoy/tollhouse-jwt-authn.yaml --policies DIR
#
# In providers.yaml, at the provider of this issuer, without the keys that say where the issuer's keys are:
#
#   verified_by: envoy_jwt_authn
#   payload_in_metadata: {PAYLOAD_KEY}
#
# What differs: the filter jwt_authn checks signatures with keys that Envoy fetches, and extauthz takes the claims from
# Envoy's metadata. It checks all else again, and refuses what comes without that metadata: a chain without the filter
# lets nothing pass. docs/policy-guide.md says what is given up.
"""

_FILTER: Final = f"""\
          # Whose signature is on the token. extauthz believes what this filter writes, so it must stand in front of it
          # on every way there; where it is missing or switched off, extauthz finds no claims and refuses.
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                development:
                  # Issuer and audiences as in providers.yaml; without an issuer, anyone's tokens would be good.
                  issuer: http://127.0.0.1:18080
                  audiences: [https://payments.tollhouse.test]
                  require_expiration: true  # a token that never ends cannot be called back
                  clock_skew_seconds: 30    # as leeway_seconds there; the longer of the two decides nothing
                  # Only where extauthz takes tokens too. By default Envoy would take one from the query as well.
                  from_headers:
                  - {{name: Authorization, value_prefix: "Bearer "}}
                  - {{name: Authorization, value_prefix: "DPoP "}}  # bound tokens; extauthz checks their proofs
                  # The token goes on to extauthz, which compares it with the claims, reads its header and binds
                  # proofs to its text; extauthz takes it off before the upstream.
                  forward: true
                  # Of this issuer alone: whatever else wrote under this key would be believed as its claims. No request
                  # header can write there.
                  payload_in_metadata: {PAYLOAD_KEY}
                  remote_jwks:
                    # Over a network: https:// and a cluster with TLS that checks the name, or the keys can be forged.
                    http_uri: {{uri: "http://127.0.0.1:18080/jwks.json", cluster: token_issuer, timeout: 2s}}
                    cache_duration: 600s  # how long a key that the issuer withdrew may still verify tokens
                    async_fetch: {{failed_refetch_duration: 1s}}  # ahead of requests, and soon again after a failure
              rules:
              # What clients may read before they have a token. extauthz sees no request of this one either.
              - match:
                  path: {METADATA_PATH}
                  headers: [{{name: ":method", string_match: {{exact: GET}}}}]
              # Never allow_missing, allow_missing_or_failed or extract_only_without_validation: claims that nobody
              # verified must not come to stand where extauthz looks.
              - match: {{prefix: /}}
                requires: {{provider_name: development}}

"""

_NAMESPACE: Final = """\
              # What jwt_authn wrote goes to extauthz; without this line it sees no claims and refuses everything.
              metadata_context_namespaces: [envoy.filters.http.jwt_authn]
"""

_MAPPERS: Final = f"""\
            # Envoy without the issuer's keys is our fault and not the caller's, who may try again.
            - filter:
                extension_filter:
                  name: cel
                  typed_config:
                    "@type": *cel
                    expression: response.code_details == 'jwt_authn_access_denied{{Jwks_remote_fetch_is_failed}}'
              status_code: 503
              headers_to_add: *retry_soon
              body_format_override:
                content_type: application/problem+json
                json_format:
                  {{type: "https://tollhouse.example/docs/errors.md#gateway_authorization_unavailable",
                   title: "The gate could not check this request.", reason: gateway_authorization_unavailable,
                   status: *status, request_id: *request_id, instance: *stream}}
            - filter:
                extension_filter:
                  name: cel
                  typed_config:
                    "@type": *cel
                    expression: response.code_details.startsWith('jwt_authn_access_denied')
              status_code: 401  # also for a wrong audience, where Envoy says 403 and RFC 6750 says 401
              body_format_override:
                content_type: application/problem+json
                json_format:
                  {{type: "https://tollhouse.example/docs/errors.md#{ACCESS_TOKEN.code}",
                   title: "{ACCESS_TOKEN.title}",
                   reason: {ACCESS_TOKEN.code}, status: *status, request_id: *request_id, instance: *stream}}
"""

_CLUSTER: Final = """\
  - name: token_issuer  # keys come from here; over a network with TLS, see the provider in jwt_authn
    type: STATIC
    connect_timeout: 0.5s
    load_assignment:
      cluster_name: token_issuer
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 18080}}}}]}]
"""

_IDENTITY: Final = "          # Who is calling, and may this payment be made.\n"
_BODY: Final = "              with_request_body:\n"
_SERVICE_ERROR: Final = """\
            - filter: {extension_filter:
                {name: cel, typed_config: {"@type": *cel, expression: "response.code_details == 'ext_authz_error'"}}}
"""
_UPSTREAM: Final = "  - name: payments_upstream\n"


def jwt_authn_reference(reference: str) -> str:
    """Return the chain in which Envoy verifies tokens of the development issuer.

    Args:
        reference: The text of envoy/tollhouse.yaml, or of a copy with other addresses.

    Raises:
        ReferenceChanged: A line to put something in at is not there exactly once.
    """
    _, separator, chain = reference.partition("#\n# Order is the product")
    if not separator:
        raise ReferenceChanged("the end of the heading")
    text = put_before(_HEADER + separator + chain, _IDENTITY, _FILTER)
    text = put_before(text, _BODY, _NAMESPACE)
    text = put_before(text, _SERVICE_ERROR, _MAPPERS)
    return put_before(text, _UPSTREAM, _CLUSTER)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(jwt_authn_reference(read_reference()), "utf-8")
