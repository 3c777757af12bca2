"""`tollhouse quota raise`: the entry of merchants.yaml that gives a merchant another value for a time, checked.

Policy is files, so nothing is changed here: the entry is printed, and what is merged into the set is what holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date

from pydantic import ValidationError

from policy.checks.merchants import check_merchants
from policy.loader import PolicySet
from policy.names import MERCHANTS_FILE, QUOTAS_FILE
from policy.parts import Parts
from policy.schema.merchants import Override
from ratelimit.compile import compile_tables
from ratelimit.tables import Limit
from tollhouse.store_command import StoreRefused


def override_entry(policy: PolicySet, fields: Mapping[str, str], today: date) -> str:
    """Return the entry as YAML.

    Args:
        policy: The set that it is for.
        fields: Every member of an override, as text.
        today: Local day; an override that is over raises nothing.

    Raises:
        StoreRefused: The set would not load with it, or nothing would be raised by it.
    """
    try:
        override = Override.model_validate(dict(fields))
    except ValidationError as error:
        # The place alone: the words of the model are for files.
        names = ", ".join(sorted({f"--{str(detail['loc'][0]).replace('starts', 'from')}" for detail in error.errors()}))
        raise StoreRefused(f"not a value that merchants.yaml takes: {names.replace('--ends', '--until')}") from error
    _check_as_written(policy, override)
    if override.ends < today.isoformat():
        raise StoreRefused("--until lies behind; nothing would be raised")
    limit = _limit_of(policy, override)
    if limit is None:
        raise StoreRefused("--quota: it does not apply to this merchant")
    if limit.scope != "merchant":
        raise StoreRefused(f"--quota: its counter belongs to the {limit.scope}; change its value in quotas.yaml")
    if override.limit <= limit.value:
        raise StoreRefused(f"--limit: {limit.value} holds already; a raise is more than that")
    return entry_text(override)


def entry_text(override: Override) -> str:
    """Return an override as an item of the list `overrides` in merchants.yaml."""
    lines = [
        f"  - merchant: {override.merchant}",
        f"    quota: {override.quota}",
        f"    limit: {override.limit} # while it holds it goes before tiers, merchants and ramp_up",
        f"    starts: {override.starts} # first day, local to the merchant",
        f"    ends: {override.ends} # last day; the day after it, the value of before holds again",
        # JSON strings are YAML too, whatever is in them.
        f"    owner: {json.dumps(override.owner, ensure_ascii=False)}",
        f"    reason: {json.dumps(override.reason, ensure_ascii=False)}",
        f"    approver: {json.dumps(override.approver, ensure_ascii=False)} # somebody else than the owner",
    ]
    return "\n".join(lines)


def _check_as_written(policy: PolicySet, override: Override) -> None:
    """Check the merchants as they would be with the entry in them, by the loader's own checks."""
    file = policy.merchants.model_copy(update={"overrides": (*policy.merchants.overrides, override)})
    parts = Parts(documents=dict(policy.documents), models={MERCHANTS_FILE: file, QUOTAS_FILE: policy.quotas})
    check_merchants(parts)
    found = [problem.message for problem in parts.problems.problems if problem.severity == "error"]
    if found:
        raise StoreRefused("; ".join(found))


def _limit_of(policy: PolicySet, override: Override) -> Limit | None:
    plans = compile_tables(policy).plans[override.merchant].values()
    limits = (limit for plan in plans for limit in (*plan.single, *plan.counted))
    return next((limit for limit in limits if limit.quota == override.quota), None)
