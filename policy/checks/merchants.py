"""merchants.yaml: tiers, time zones, and suspensions with an owner."""

from __future__ import annotations

from policy.checks.common import check_known, check_unique
from policy.checks.quota_meaning import is_date
from policy.diagnostics import quote
from policy.merchants import time_zone_names
from policy.names import MERCHANTS_FILE
from policy.parts import Parts
from policy.schema.merchants import Merchant, MerchantsFile
from policy.schema.quotas import QuotasFile


def check_merchants(parts: Parts) -> None:
    """Add every problem of merchants.yaml."""
    file = parts.find_sound(MerchantsFile)
    if file is None:
        return
    check_unique(parts, MERCHANTS_FILE, ("tiers",), ("", file.tiers))
    check_unique(parts, MERCHANTS_FILE, ("merchants",), ("id", [merchant.id for merchant in file.merchants]))
    for index, merchant in enumerate(file.merchants):
        path = ("merchants", index)
        check_known(parts, MERCHANTS_FILE, (*path, "tier"), ("tier", merchant.tier, file.tiers))
        if merchant.time_zone not in time_zone_names():
            hint = parts.problems.hint(merchant.time_zone, time_zone_names())
            message = f"unknown IANA time zone {quote(merchant.time_zone)}{hint}"
            parts.add(MERCHANTS_FILE, (*path, "time_zone"), "P061", message)
        if merchant.group is not None:
            check_known(parts, MERCHANTS_FILE, (*path, "group"), ("group", merchant.group, file.groups))
        if merchant.since is not None and not is_date(merchant.since):
            parts.add(MERCHANTS_FILE, (*path, "since"), "P033", f"{quote(merchant.since)} is not a date")
        _check_suspension(parts, index, merchant)
    _check_overrides(parts, file)


def _check_overrides(parts: Parts, file: MerchantsFile) -> None:
    quotas = parts.find(QuotasFile)
    merchants = {merchant.id for merchant in file.merchants}
    for index, override in enumerate(file.overrides):
        path = ("overrides", index)
        check_known(parts, MERCHANTS_FILE, (*path, "merchant"), ("merchant", override.merchant, merchants))
        if quotas is not None:
            ids = {quota.id for quota in quotas.quotas}
            check_known(parts, MERCHANTS_FILE, (*path, "quota"), ("quota", override.quota, ids))
        for key in ("starts", "ends"):
            day = getattr(override, key)
            if not is_date(day):
                parts.add(MERCHANTS_FILE, (*path, key), "P033", f"{quote(day)} is not a date")
        if override.starts > override.ends:
            parts.add(MERCHANTS_FILE, (*path, "ends"), "P068", "the override ends before it starts")
        if override.approver == override.owner:
            parts.add(MERCHANTS_FILE, (*path, "approver"), "P068", "owner and approver are one; ask somebody else")


def _check_suspension(parts: Parts, index: int, merchant: Merchant) -> None:
    path = ("merchants", index)
    suspension = merchant.suspension
    if merchant.status == "suspended" and suspension is None:
        message = "a suspended merchant needs 'suspension' with owner and reason"
        parts.add(MERCHANTS_FILE, (*path, "status"), "P060", message)
    if merchant.status == "active" and suspension is not None:
        message = "an active merchant has no 'suspension'; remove it, or set 'status: suspended'"
        parts.add_at_key(MERCHANTS_FILE, (*path, "suspension"), "P060", message)
    if suspension is not None and suspension.until is not None and not is_date(suspension.until):
        parts.add(MERCHANTS_FILE, (*path, "suspension", "until"), "P033", f"{quote(suspension.until)} is not a date")
