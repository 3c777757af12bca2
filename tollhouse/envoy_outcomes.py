"""What in an Envoy configuration keeps outcomes from ratelimit, or says more of retries than is true.

Called by `tollhouse envoy check` where the policy set waits for outcomes. Its law: what cannot be seen in the file is a
finding. Protos: envoy/extensions/access_loggers/grpc/v3/als.proto, envoy/config/route/v3/route_components.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from policy.schema.quotas import QuotasFile
from ratelimit.outcomes import RETRIES_TAG, UNSENT_ONLY
from tollhouse.envoy_tree import Chain, as_list, as_mapping, find, gates, kind_of

_LOG: Final = "access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
_WISHES: Final = "x-envoy-"
"""Headers by which Envoy lets a caller ask, such as `x-envoy-retry-on`."""
_UNSENT: Final = frozenset({"connect-failure", "refused-stream"})
"""Conditions under which no upstream can have read a request (RFC 9113 section 8.7)."""


def waits_for_outcomes(quotas: QuotasFile) -> bool:
    """Tell whether something is given back, or ends, by what Envoy tells."""
    return any(quota.counts == "authorized" or quota.metric == "in_flight" for quota in quotas.quotas)


def check_outcomes(document: dict[str, Any]) -> list[str]:
    """Return every finding, each a sentence; none when outcomes are told, and truly.

    Args:
        document: From `read_envoy_file`.
    """
    return [f"{chain.place}: {finding}" for chain in gates(document) for finding in _check_chain(chain)]


def _check_chain(chain: Chain) -> Iterator[str]:
    manager = chain.manager
    logs = list(find(manager.get("access_log"), lambda value: kind_of(value).endswith(_LOG)))
    if not logs:
        yield "no access log http_grpc tells ratelimit what became of payments: quotas with outcomes give nothing back"
    tags = [_retries_tag(as_mapping(config.get("common_config"))) for config in logs]
    if UNSENT_ONLY in tags:
        yield from _untrue(manager)


def _retries_tag(common: dict[str, Any]) -> Any:
    for tag in map(as_mapping, as_list(common.get("custom_tags"))):
        if tag.get("tag") == RETRIES_TAG:
            return as_mapping(tag.get("literal")).get("value")
    return None


def _untrue(manager: dict[str, Any]) -> Iterator[str]:
    """Say what contradicts the word that only unsent requests are tried again."""
    claim = f"and the access log says {RETRIES_TAG}: {UNSENT_ONLY}, so a payment that was taken could be given back"
    if "rds" in manager or "scoped_routes" in manager:
        yield f"routes come from elsewhere, so nobody sees what is tried again, {claim}"
    routes = manager.get("route_config")
    for holder in find(routes, lambda value: "retry_policy" in value or "retry_policy_typed_config" in value):
        conditions = str(as_mapping(holder.get("retry_policy")).get("retry_on", ""))
        others = sorted({text.strip() for text in conditions.split(",")} - _UNSENT - {""})
        if others or "retry_policy_typed_config" in holder:
            yield f"a route tries again on {', '.join(others) or 'what cannot be seen here'}, {claim}"
    mutations = manager.get("early_header_mutation_extensions")
    if next(find(mutations, lambda value: value.get("prefix") == _WISHES), None) is None:
        yield f"a caller can ask for other retries, since nothing removes its headers {_WISHES}, {claim}"
    if next(find(routes, lambda value: "hedge_policy" in value), None) is not None:
        yield f"a route sends requests twice (hedge_policy), {claim}"
