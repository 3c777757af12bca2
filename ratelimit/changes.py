"""What a reload loosened, one sentence each, so that the log shows every door that was opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policy.loader import PolicySet
from policy.schema.quotas import Quota


def loosened(old: PolicySet, new: PolicySet) -> list[str]:
    """Compare two revisions and return what lets more through than before."""
    now = {quota.id: quota for quota in new.quotas.quotas}
    sentences: list[str] = []
    for before in old.quotas.quotas:
        quota = now.get(before.id)
        if quota is None:
            sentences.append(f"quota {before.id} was removed")
        else:
            sentences.extend(_quota(before, quota))
    if old.rates is not None and new.rates is not None and old.rates != new.rates:
        sentences.append("rates.yaml has other rates; converted amounts may count less")
    return sentences


def _quota(before: Quota, after: Quota) -> Iterator[str]:
    name = f"quota {before.id}"
    if _counted(before) != _counted(after):
        yield f"{name} counts something else: {after.metric} {after.interval or ''} per {' and '.join(after.per)}"
    if before.mode == "enforce" and after.mode == "shadow":
        yield f"{name} went from enforce to shadow"
    if before.counts == "attempts" and after.counts == "authorized":
        yield f"{name} gives back what the upstream did not take"
    if after.ramp_up != before.ramp_up and before.ramp_up:
        yield f"{name} has another ramp_up"
    yield from _without_store(name, before, after)
    if after.without and not before.without:
        yield f"{name} no longer counts payments without what it counts by"
    for operation in sorted(set(before.operations) - set(after.operations)):
        yield f"{name} no longer covers {operation}"
    for merchant in sorted(set(after.unlimited) - set(before.unlimited)):
        yield f"{name} no longer limits merchant {merchant}"
    yield from _value(name, before.limit, after.limit)
    yield from _values(f"{name}, tier", before.tiers, after.tiers)
    yield from _values(f"{name}, merchant", before.merchants, after.merchants)


def _without_store(name: str, before: Quota, after: Quota) -> Iterator[str]:
    if after.on_store_failure == "local" and before.on_store_failure not in ("local", "allow"):
        yield f"{name} now counts locally when the store is away"
    if before.local_percent and (after.local_percent or 0) > before.local_percent:
        yield f"{name} has a larger local share: {after.local_percent} % instead of {before.local_percent} %"
    if after.on_store_failure == "allow" and before.on_store_failure != "allow":
        yield f"{name} now allows when the store is away"


def _counted(quota: Quota) -> tuple[object, ...]:
    """Return what must be the same for two values to be compared; another one counts from nothing."""
    names = (
        "metric",
        "distinct",
        "interval",
        "length",
        "anchor",
        "burst",
        "lease",
        "time_zone",
        "cut_off",
        "start_day",
    )
    return (*(getattr(quota, name) for name in names), quota.currency, quota.convert, quota.per)


def _value(name: str, before: int | None, after: int | None) -> Iterator[str]:
    if before is None:
        return
    if after is None:
        yield f"{name}: the limit {before} was removed"
    elif after > before:
        yield f"{name}: the limit went from {before} to {after}"


def _values(name: str, before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    for key, value in before.items():
        yield from _value(f"{name} {key}", value, after.get(key))
    for key in sorted(set(after) - set(before)):
        yield f"{name} {key}: has a value of its own now, {after[key]}"
