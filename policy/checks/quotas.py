"""quotas.yaml: limits that mean something, for merchants and operations that exist."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from policy.attributes import SUBJECT_ATTRIBUTES
from policy.checks.common import check_known, check_unique
from policy.checks.quota_meaning import check_quota_meaning
from policy.diagnostics import quote
from policy.handoff import MAX_CARD_KEYS
from policy.names import QUOTAS_FILE
from policy.parts import Parts
from policy.schema.merchants import Merchant, MerchantsFile
from policy.schema.profiles import Profile
from policy.schema.quotas import KEYED_SUBJECTS, Quota, QuotasFile
from policy.schema.routes import Operation, RoutesFile

MAX_COUNTERS: Final = 64
"""Most counters of one operation: what one call of the store's script takes for one hit."""

_SHOWN_MERCHANTS = 5


def check_quotas(parts: Parts) -> None:
    """Add every problem of quotas.yaml."""
    file = parts.find_sound(QuotasFile)
    if file is None:
        return
    check_unique(parts, QUOTAS_FILE, ("quotas",), ("id", [quota.id for quota in file.quotas]))
    for index, quota in enumerate(file.quotas):
        check_quota_meaning(parts, index, quota)
        _check_values(parts, index, quota)
        _check_operations(parts, index, quota)
        _check_subject_operations(parts, index, quota)
    _check_counters(parts, file)
    _check_subjects(parts, file)
    _check_cover(parts, file)


def _check_subject_operations(parts: Parts, index: int, quota: Quota) -> None:
    routes = parts.find(RoutesFile)
    if not quota.subjects or routes is None or not parts.has_all_profiles:
        return
    operations = {operation.operation: operation for operation in routes.operations}
    profiles = {profile.profile: profile for profile in parts.profiles().values()}
    for position, name in enumerate(quota.operations):
        operation = operations.get(name)
        if operation is None:
            continue
        profile = profiles.get(operation.profile or "")
        lacking = [subject for subject in sorted(quota.subjects) if not _reads(profile, subject)]
        if lacking:
            where = ", ".join(SUBJECT_ATTRIBUTES.get(subject, "card_number") for subject in lacking)
            message = f"operation {quote(name)} reads no {where}, so there is no {', '.join(lacking)} to count"
            parts.add(QUOTAS_FILE, ("quotas", index, "operations", position), "P077", message)


def _reads(profile: Profile | None, subject: str) -> bool:
    if profile is None:
        return False
    return profile.card_number is not None if subject == "card" else SUBJECT_ATTRIBUTES[subject] in profile.attributes


def _check_counters(parts: Parts, file: QuotasFile) -> None:
    """Refuse more counters than one hit of the store may have; every such request would fail."""
    counters: Counter[str] = Counter()
    for index, quota in enumerate(file.quotas):
        if quota.interval == "per_transaction":
            continue
        for name in set(quota.operations):
            before = counters[name]
            counters[name] += MAX_CARD_KEYS if quota.subjects & KEYED_SUBJECTS & {*quota.dimensions} else 1
            if before <= MAX_COUNTERS < counters[name]:
                what = f"more than {MAX_COUNTERS} counters for operation {quote(name)}"
                message = f"{what}; per: card, payer, device or ip takes two"
                parts.add(QUOTAS_FILE, ("quotas", index, "id"), "P078", message)


def _check_values(parts: Parts, index: int, quota: Quota) -> None:
    path = ("quotas", index)
    if quota.limit is None and not quota.tiers and not quota.merchants and not quota.unlimited:
        message = "the quota has no value: write 'limit', 'tiers', 'merchants' or 'unlimited'"
        parts.add(QUOTAS_FILE, (*path, "id"), "P073", message)
    for merchant in quota.unlimited:
        if merchant in quota.merchants:
            message = f"{quote(merchant)} has a value under 'merchants' as well; only one can count"
            parts.add_at_key(QUOTAS_FILE, (*path, "unlimited", merchant), "P074", message)


def _check_operations(parts: Parts, index: int, quota: Quota) -> None:
    path = ("quotas", index, "operations")
    check_unique(parts, QUOTAS_FILE, path, ("", quota.operations))
    routes = parts.find(RoutesFile)
    if routes is None:
        return
    operations = {operation.operation: operation for operation in routes.operations}
    for position, name in enumerate(quota.operations):
        is_known = check_known(parts, QUOTAS_FILE, (*path, position), ("operation", name, operations))
        if is_known and quota.metric == "amount" and not operations[name].moves_money:
            message = f"operation {quote(name)} moves no money, so it has no amount to count"
            parts.add(QUOTAS_FILE, (*path, position), "P075", message)


def _check_subjects(parts: Parts, file: QuotasFile) -> None:
    known = parts.find(MerchantsFile)
    if known is None:
        return
    ids = {merchant.id for merchant in known.merchants}
    for index, quota in enumerate(file.quotas):
        path = ("quotas", index)
        for tier in quota.tiers:
            check_known(parts, QUOTAS_FILE, (*path, "tiers", tier), ("tier", tier, known.tiers))
        for merchant in quota.merchants:
            check_known(parts, QUOTAS_FILE, (*path, "merchants", merchant), ("merchant", merchant, ids))
        for merchant in quota.unlimited:
            check_known(parts, QUOTAS_FILE, (*path, "unlimited", merchant), ("merchant", merchant, ids))


def _check_cover(parts: Parts, file: QuotasFile) -> None:
    """Warn of payments that no amount quota covers: at run time each one is refused with quota_undefined.

    A warning, because the gate stays closed: an error would keep an urgent change, such as a suspension, from
    loading only because a merchant that cannot pay yet was added first.
    """
    merchants, routes = parts.find(MerchantsFile), parts.find(RoutesFile)
    if merchants is None or routes is None or parts.find(QuotasFile) is None:
        return
    for operation in routes.operations:
        if not operation.moves_money:
            continue
        cover = _Cover.of(file, operation)
        bare = [merchant.id for merchant in merchants.merchants if not cover.has(merchant)]
        if bare:
            shown = ", ".join(bare[:_SHOWN_MERCHANTS]) + (" ..." if len(bare) > _SHOWN_MERCHANTS else "")
            what = f"no enforced amount quota covers {quote(operation.operation)} for {shown}"
            message = f"{what}: every payment is refused (quota_undefined)"
            parts.add(QUOTAS_FILE, ("quotas",), "P076", message, "warning")


@dataclass(frozen=True, slots=True)
class _Cover:
    """Whom the enforced amount quotas of one operation cover; `unlimited` in writing counts as well."""

    is_everyone: bool
    tiers: frozenset[str]
    merchants: frozenset[str]

    @classmethod
    def of(cls, file: QuotasFile, operation: Operation) -> _Cover:
        quotas = [
            item
            for item in file.quotas
            if item.metric == "amount" and item.per == ("merchant",) and operation.operation in item.operations
        ]
        enforced = [item for item in quotas if item.mode == "enforce"]
        return cls(
            any(item.limit is not None for item in enforced),
            frozenset(tier for item in enforced for tier in item.tiers),
            frozenset(id_ for item in enforced for id_ in item.merchants)
            | frozenset(id_ for item in quotas for id_ in item.unlimited),
        )

    def has(self, merchant: Merchant) -> bool:
        return self.is_everyone or merchant.tier in self.tiers or merchant.id in self.merchants
