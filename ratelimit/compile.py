"""Turns a checked policy set into this service's tables; runs at load, never on the request path."""

from __future__ import annotations

from collections.abc import Mapping

from policy.loader import PolicySet
from policy.merchants import MerchantEntry, MerchantTable
from policy.schema.quotas import Quota
from policy.schema.routes import Operation
from ratelimit.tables import Limit, Plan, Tables


def compile_tables(policy: PolicySet) -> Tables:
    """Compile a set without problems, from `load_policy_set`."""
    table = MerchantTable.compile(policy.merchants)
    merchants = {merchant.id: entry for merchant in policy.merchants.merchants if (entry := table.get(merchant.id))}
    shared: dict[object, Mapping[str, Plan]] = {}
    return Tables(
        revision=policy.revision,
        merchants=merchants,
        operations=frozenset(operation.operation for operation in policy.routes.operations),
        plans={id_: _plans(policy, entry, shared) for id_, entry in merchants.items()},
    )


def _plans(policy: PolicySet, merchant: MerchantEntry, shared: dict[object, Mapping[str, Plan]]) -> Mapping[str, Plan]:
    """Return the plans of a merchant; merchants of one tier without values of their own share them."""
    has_own = any(merchant.id in quota.merchants or merchant.id in quota.unlimited for quota in policy.quotas.quotas)
    key: object = (merchant.id,) if has_own else merchant.tier
    if key not in shared:
        shared[key] = {
            operation.operation: _plan(policy.quotas.quotas, operation, merchant)
            for operation in policy.routes.operations
        }
    return shared[key]


def _plan(quotas: tuple[Quota, ...], operation: Operation, merchant: MerchantEntry) -> Plan:
    limits: list[Limit] = []
    covered: set[str] = set()
    for quota in quotas:
        if operation.operation not in quota.operations:
            continue
        limit = _limit(quota, merchant)
        if limit is not None:
            limits.append(limit)
        is_written = merchant.id in quota.unlimited or (limit is not None and not limit.is_shadow)
        # A card's quota says nothing about the merchant as a whole, nor about payments without a card.
        if quota.metric == "amount" and quota.per == "merchant" and quota.currency is not None and is_written:
            covered.add(quota.currency)
    return Plan(
        moves_money=operation.moves_money,
        single=tuple(limit for limit in limits if limit.interval == "per_transaction"),
        counted=tuple(limit for limit in limits if limit.interval != "per_transaction"),
        covered_currencies=frozenset(covered),
    )


def _limit(quota: Quota, merchant: MerchantEntry) -> Limit | None:
    """Return the quota with the most specific value: the merchant's, else its tier's, else the default."""
    if merchant.id in quota.unlimited:
        return None
    value = quota.merchants.get(merchant.id, quota.tiers.get(merchant.tier, quota.limit))
    if value is None:
        return None
    # Without a store an amount is refused and a count passes, unless the quota says otherwise.
    default = "deny" if quota.metric == "amount" else "allow"
    return Limit(
        quota=quota.id,
        metric=quota.metric,
        interval=quota.interval,
        currency=quota.currency,
        value=value,
        is_shadow=quota.mode == "shadow",
        denies_without_store=(quota.on_store_failure or default) == "deny",
        is_per_card=quota.per == "card",
        passes_without_card=quota.without_card is not None,
    )
