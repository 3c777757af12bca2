"""Listeners of `envoy_chain` with a rate-limit filter in many settings, asking a stub of the rate-limit service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.cases.envoy_chain import Setting

_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters.http"
GENERIC = {"actions": [{"generic_key": {"descriptor_key": "k", "descriptor_value": "v"}}]}


@dataclass(frozen=True, slots=True)
class LimitSetting(Setting):
    """What one listener's rate-limit filter is set to.

    Attributes:
        limits: Members of the filter besides the usual ones.
        rate_limit: The one entry of `rate_limits`.
        after: Filters between it and the router.
        deadline: Of the call; empty: Envoy's own.
    """

    limits: Mapping[str, Any] = field(default_factory=dict)
    rate_limit: Mapping[str, Any] = field(default_factory=lambda: GENERIC)
    after: tuple[Mapping[str, Any], ...] = ()
    deadline: str = "1s"

    def filters(self) -> list[Mapping[str, Any]]:
        config = {
            "@type": f"{_EXTENSIONS}.ratelimit.v3.RateLimit",
            "domain": "d",
            "rate_limit_service": {
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": "stub"}},
            },
            "rate_limits": [self.rate_limit] if self.rate_limit else [],
            **({"timeout": self.deadline} if self.deadline else {}),
            **self.limits,
        }
        return [
            *self.before,
            {"name": "envoy.filters.http.ratelimit", "typed_config": config},
            *self.after,
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_EXTENSIONS}.router.v3.Router"},
            },
        ]


def shown_metadata(namespace: str) -> Mapping[str, Any]:
    """A filter that shows the upstream a namespace of dynamic metadata."""
    header = {"header": {"key": "x-metadata", "value": f"%DYNAMIC_METADATA({namespace})%"}}
    mutations = {"request_mutations": [{"append": header}]}
    config = {"@type": f"{_EXTENSIONS}.header_mutation.v3.HeaderMutation", "mutations": mutations}
    return {"name": "envoy.filters.http.header_mutation", "typed_config": config}


def number_of_header(header: str, namespace: str, key: str) -> Mapping[str, Any]:
    """A filter that makes a number in dynamic metadata of a header."""
    rule = {"header": header, "on_header_present": {"metadata_namespace": namespace, "key": key, "type": "NUMBER"}}
    config = {"@type": f"{_EXTENSIONS}.header_to_metadata.v3.Config", "request_rules": [rule]}
    return {"name": "envoy.filters.http.header_to_metadata", "typed_config": config}


def constant_metadata(namespace: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A filter that sets dynamic metadata."""
    entry = {"metadata_namespace": namespace, "value": value}
    config = {"@type": f"{_EXTENSIONS}.set_metadata.v3.Config", "metadata": [entry]}
    return {"name": "envoy.filters.http.set_metadata", "typed_config": config}


def denying_authorization() -> Mapping[str, Any]:
    """An ext_authz filter whose service is away: it refuses with 403."""
    config = {
        "@type": f"{_EXTENSIONS}.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": "gate"}, "timeout": "1s"},
    }
    return {"name": "envoy.filters.http.ext_authz", "typed_config": config}
