"""The metadata of the API (RFC 9728), made of the policy set and put into an Envoy configuration.

Clients read it before they have a token, so Envoy answers by itself, without asking extauthz or ratelimit and without
the upstream. `python -m tollhouse.resource_metadata envoy/tollhouse.yaml policies` writes the reference file;
`tollhouse envoy metadata` does the same for a set and a file of one's own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from policy.loader import PolicySet, load_policy_set
from policy.resource import METADATA_PATH

BEGIN: Final = (
    "              # Made of the policy set by `tollhouse envoy metadata`; edit routes.yaml and providers.yaml.\n"
)
END: Final = "              # End of what is made of the policy set.\n"

_ROUTE: Final = """\
              # What clients may know before they have a token (RFC 9728): public, and the same for everyone. This exact
              # path alone, and nothing behind it: Envoy answers, so no payment can take this way past the two filters.
              - match:
                  path: PATH
                  headers: [{name: ":method", string_match: {exact: GET}}]
                direct_response:
                  status: 200
                  body:
                    inline_string: |
METADATA
                response_headers_to_add:
                - {header: {key: content-type, value: application/json}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
                - {header: {key: cache-control, value: max-age=300}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": &filter_config type.googleapis.com/envoy.config.route.v3.FilterConfig
                    disabled: true  # on this answer of Envoy's own alone; the flood shield stays
                  envoy.filters.http.ratelimit: {"@type": *filter_config, disabled: true}
"""
_INDENT: Final = " " * 22


class PlaceMissing(Exception):  # noqa: N818 - says what happened
    """The configuration does not have the two marking lines once each, in order; the message says so."""


def resource_metadata(policy: PolicySet) -> dict[str, Any] | None:
    """Return the metadata of the API (RFC 9728 section 2); None where routes.yaml names no resource."""
    resource = policy.routes.resource
    if resource is None:
        return None
    operations, providers = policy.routes.operations, policy.providers.providers
    details = {each.authorization_details.type for each in operations if each.authorization_details is not None}
    bindings = {operation.sender_constraint for operation in operations}
    proofs = dict.fromkeys(name for each in providers if each.dpop is not None for name in each.dpop.algorithms)
    optional = {
        "tls_client_certificate_bound_access_tokens": bool(bindings & {"any", "certificate"}),
        "dpop_signing_alg_values_supported": list(proofs),
        "dpop_bound_access_tokens_required": bindings == {"dpop"},
        "authorization_details_types_supported": sorted(details),
        "resource_name": resource.name,
        "resource_documentation": resource.documentation,
    }
    return {
        "resource": resource.identifier,
        "authorization_servers": [provider.issuer for provider in providers],
        "scopes_supported": sorted({scope for operation in operations for scope in operation.scopes}),
        "bearer_methods_supported": ["header"],
        **{name: value for name, value in optional.items() if value},
    }


def with_metadata(configuration: str, policy: PolicySet) -> str:
    """Return an Envoy configuration that answers with the metadata of this policy set.

    Args:
        configuration: The text of envoy/tollhouse.yaml, or of a copy that kept its two marking lines.
        policy: A checked set; one without `resource` leaves no route between the lines.

    Raises:
        PlaceMissing: The marking lines are not there once each, in order.
    """
    before, begin, rest = configuration.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in before or END in after:
        raise PlaceMissing("the lines that mark the place of the metadata are not there exactly once")
    return before + BEGIN + _route(resource_metadata(policy)) + END + after


def _route(metadata: dict[str, Any] | None) -> str:
    if metadata is None:
        return ""
    document = json.dumps(metadata, indent=2)
    lines = "\n".join(_INDENT + line for line in document.split("\n"))
    return _ROUTE.replace("PATH", METADATA_PATH, 1).replace("METADATA", lines)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(with_metadata(target.read_text("utf-8"), load_policy_set(Path(sys.argv[2]))), "utf-8")
