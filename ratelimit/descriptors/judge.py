"""Step `judge` for descriptors: counts become statuses, statuses become the overall code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from policy.descriptors.tree import LimitRule
from ratelimit.descriptors.model import DescriptorAnswer, EngineOptions, Found, Status
from ratelimit.descriptors.tally import Count, Role
from ratelimit.model import OverLimit, QuotaState, WithinLimit
from ratelimit.reasons import Reason

UNLIMITED_REMAINING: Final = 2**32 - 1
NO_LIMIT: Final = Status()


def role_of(limit: LimitRule, options: EngineOptions) -> Role:
    """Return what a hit on this limit means when it does not fit."""
    if options.is_shadow or limit.is_shadow:
        return Role.SHADOW
    return Role.QUOTA if options.is_quota or limit.is_quota else Role.HARD


def status_of(limit: LimitRule, count: Count | None, now: float, *, is_given_back: bool) -> Status:
    """Return the status of a counted descriptor.

    Args:
        limit: Not unlimited.
        count: None: known to be over without asking the store.
        now: Seconds since 1970.
        is_given_back: Nothing was asked for, so it is never over.
    """
    reset = limit.window_seconds - int(now) % limit.window_seconds
    if count is None:
        return Status(not limit.is_shadow, limit, 0, reset)
    if count.is_over and not is_given_back:
        return Status(not limit.is_shadow, limit, 0, reset)
    return Status(False, limit, max(limit.requests_per_unit - count.after, 0), reset)


def judge(found: Sequence[Found], statuses: Sequence[Status], options: EngineOptions) -> DescriptorAnswer:
    """Return the overall answer.

    Over limit when a descriptor that is no quota is over, or when there are quotas and all of them are over.
    """
    over = [place for place, status in enumerate(statuses) if status.is_over]
    states = tuple(_state(status) for status in statuses if status.limit is not None)
    if options.is_shadow or not over or not _is_over(found, statuses, options):
        return DescriptorAnswer(WithinLimit(states), tuple(statuses), tuple(found))
    # The one that keeps the caller out longest: asking again earlier would be in vain.
    last = max(over, key=lambda place: statuses[place].reset_seconds)
    if found[last].fault:
        verdict = OverLimit(Reason.LIMIT_REQUEST_INVALID, states=states, detail=found[last].fault)
    else:
        reset = statuses[last].reset_seconds
        deciding = _state(statuses[last]) if statuses[last].limit is not None else None
        verdict = OverLimit(Reason.LIMIT_EXCEEDED, deciding, states, retry_after_seconds=reset)
    return DescriptorAnswer(verdict, tuple(statuses), tuple(found))


def _is_over(found: Sequence[Found], statuses: Sequence[Status], options: EngineOptions) -> bool:
    quotas: list[bool] = []
    for each, status in zip(found, statuses, strict=True):
        if status.is_over and (each.fault or not is_quota(each, options)):
            return True
        if is_quota(each, options):
            quotas.append(status.is_over)
    return bool(quotas) and all(quotas)


def is_quota(found: Found, options: EngineOptions) -> bool:
    """Tell whether a descriptor is one of those that refuse only together.

    Under `is_compat` a shadow quota is one that always passes, and where every limit is a quota so is a descriptor
    without any: both keep the others from refusing. By default neither has a say.
    """
    limit = found.limit
    if limit is None:
        return options.is_compat and options.is_quota and not found.fault
    if limit.is_unlimited or (limit.is_shadow and not options.is_compat):
        return False
    return options.is_quota or limit.is_quota


def _state(status: Status) -> QuotaState:
    limit = status.limit
    if limit is None:
        raise ValueError("a status without a limit has no state")
    return QuotaState(
        limit.id,
        limit.requests_per_unit,
        limit.requests_per_unit - status.remaining,
        status.reset_seconds,
        status.is_over,
        limit.is_shadow,
        limit.unit == "second",
    )
