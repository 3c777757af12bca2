"""Turns a checked policy set into this service's tables; runs at load, never on the request path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policy.loader import PolicySet
from policy.merchants import MerchantEntry, MerchantTable
from policy.schema.durations import duration_seconds
from policy.schema.merchants import Merchant, Override
from policy.schema.quotas import Quota
from policy.schema.routes import Operation
from ratelimit.conversion import Conversion
from ratelimit.counting import Counting
from ratelimit.headers import told_of
from ratelimit.ledger import Kind
from ratelimit.local_share import local_share
from ratelimit.tables import Limit, Plan, Tables
from ratelimit.timeline import changes_of


def compile_tables(policy: PolicySet) -> Tables:
    """Compile a set without problems, from `load_policy_set`."""
    table = MerchantTable.compile(policy.merchants)
    compiler = _Compiler.of(policy)
    shared: dict[object, Mapping[str, Plan]] = {}
    merchants = {merchant.id: entry for merchant in policy.merchants.merchants if (entry := table.get(merchant.id))}
    plans = {
        merchant.id: compiler.plans(_Subject(merchant, merchants[merchant.id]), shared)
        for merchant in policy.merchants.merchants
        if merchant.id in merchants
    }
    operations = frozenset(operation.operation for operation in policy.routes.operations)
    declined = {
        operation.operation: frozenset(operation.outcome.declined)
        for operation in policy.routes.operations
        if operation.outcome is not None
    }
    return Tables(policy.revision, merchants, operations, plans, declined)


@dataclass(frozen=True, slots=True)
class _Subject:
    merchant: Merchant
    entry: MerchantEntry


@dataclass(frozen=True, slots=True)
class _Compiler:
    """What is the same for every merchant."""

    quotas: tuple[Quota, ...]
    operations: tuple[Operation, ...]
    overrides: Mapping[str, tuple[Override, ...]]
    countings: Mapping[str, Counting]
    hold_seconds: int
    repeat_seconds: int
    headers: tuple[str, ...]
    conversion: Conversion | None

    @classmethod
    def of(cls, policy: PolicySet) -> _Compiler:
        overrides: dict[str, tuple[Override, ...]] = {}
        for override in policy.merchants.overrides:
            overrides[override.merchant] = (*overrides.get(override.merchant, ()), override)
        return cls(
            policy.quotas.quotas,
            policy.routes.operations,
            overrides,
            {quota.id: Counting.of(quota) for quota in policy.quotas.quotas},
            duration_seconds(policy.quotas.reservation.hold),
            duration_seconds(policy.quotas.reservation.idempotency),
            policy.quotas.headers,
            Conversion.compile(policy.rates),
        )

    def plans(self, subject: _Subject, shared: dict[object, Mapping[str, Plan]]) -> Mapping[str, Plan]:
        """Return the plans of a merchant; merchants of one tier without values of their own share them."""
        key = self._sharing_key(subject)
        if key not in shared:
            shared[key] = {operation.operation: self._plan(operation, subject) for operation in self.operations}
        return shared[key]

    def _sharing_key(self, subject: _Subject) -> object:
        id_ = subject.merchant.id
        is_young = subject.merchant.since is not None and any(quota.ramp_up for quota in self.quotas)
        has_own = any(id_ in quota.merchants or id_ in quota.unlimited for quota in self.quotas)
        # Quotas per group leave out who has none.
        return (
            (id_,) if has_own or is_young or id_ in self.overrides else (subject.entry.tier, bool(subject.entry.group))
        )

    def _plan(self, operation: Operation, subject: _Subject) -> Plan:
        limits = [limit for limit in self._limits(operation, subject) if limit is not None]
        counted = tuple(limit for limit in limits if not limit.is_single)
        idempotency = operation.idempotency
        is_enforced = idempotency is not None and idempotency.mode == "upstream_enforced"
        repeat_seconds = self.repeat_seconds if is_enforced else 0
        return Plan(
            moves_money=operation.moves_money,
            single=tuple(limit for limit in limits if limit.is_single),
            counted=counted,
            covered_currencies=frozenset(self._covered(operation, subject)),
            scopes=tuple(sorted({limit.scope for limit in counted} - {"merchant"})),
            is_held=any(limit.is_held or limit.metric == "in_flight" for limit in counted) or repeat_seconds > 0,
            hold_seconds=self.hold_seconds,
            repeat_seconds=repeat_seconds,
            conversion=self.conversion if any(limit.is_converted for limit in limits) else None,
            covers_every_currency=self._is_every_currency_covered(operation, subject),
        )

    def _limits(self, operation: Operation, subject: _Subject) -> Iterator[Limit | None]:
        for quota in self.quotas:
            if operation.operation in quota.operations:
                yield self._limit(quota, subject)

    def _covered(self, operation: Operation, subject: _Subject) -> Iterator[str]:
        """Yield the currencies of amounts that are limited, or written as unlimited, for the merchant as a whole."""
        yield from (quota.currency for quota in self._covering(operation, subject) if quota.currency is not None)

    def _is_every_currency_covered(self, operation: Operation, subject: _Subject) -> bool:
        return any(quota.convert for quota in self._covering(operation, subject))

    def _covering(self, operation: Operation, subject: _Subject) -> Iterator[Quota]:
        for quota in self.quotas:
            is_whole = quota.metric == "amount" and quota.per == ("merchant",)
            if not is_whole or operation.operation not in quota.operations:
                continue
            limit = self._limit(quota, subject)
            if subject.merchant.id in quota.unlimited or (limit is not None and not limit.is_shadow):
                yield quota

    def _limit(self, quota: Quota, subject: _Subject) -> Limit | None:
        """Return the quota with the most specific value: the merchant's, else its tier's, else the default."""
        merchant = subject.merchant
        if merchant.id in quota.unlimited or (quota.scope == "group" and not subject.entry.group):
            return None
        value = quota.merchants.get(merchant.id, quota.tiers.get(merchant.tier, quota.limit))
        if value is None:
            return None
        counting = self.countings[quota.id]
        overrides = [each for each in self.overrides.get(merchant.id, ()) if each.quota == quota.id]
        changes = changes_of(quota, value, subject.merchant, subject.entry.zone, overrides)
        return _with_values(quota, counting, (value, changes), self.headers)


def _with_values(
    quota: Quota, counting: Counting, values: tuple[int, Sequence[tuple[float, int]]], headers: Sequence[str]
) -> Limit:
    value, changes = values
    numbers = counting.numbers(quota, value)
    # Without a store an amount is refused and anything else passes, unless the quota says otherwise.
    default = "deny" if quota.metric == "amount" else "allow"
    common: dict[str, Any] = {
        "quota": quota.id,
        "metric": quota.metric,
        "currency": quota.currency,
        "value": value,
        "changes": tuple(changes),
        "is_shadow": quota.mode == "shadow",
        "denies_without_store": (quota.on_store_failure or default) == "deny",
        "subject": quota.distinct or "",
        "scope": quota.scope,
        "dimensions": quota.dimensions,
        "passes_without": quota.without is not None,
        "is_converted": quota.convert,
        "is_once": counting.is_once,
        "is_held": quota.counts == "authorized",
        "is_leased": quota.coordination == "leased",
        "warn_at": tuple(sorted(quota.warn_at)),
    }
    told = told_of(quota, headers, numbers["buckets"] if counting.kind is Kind.RATE else 0)
    limit = Limit(**common, **numbers, told=told)
    if quota.on_store_failure != "local":
        return limit
    return replace(limit, local=local_share(limit, quota.local_percent or 0))
