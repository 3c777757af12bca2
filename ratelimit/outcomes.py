"""What became of payments that were let through: Envoy's access log settles what they hold.

Called with the messages of `StreamAccessLogs`. Its law: a hold is released only if the upstream provably did not take
the payment. Whatever is unknown, cut short, tried twice or said in words that are not listed here is in doubt, and in
doubt a payment stays counted. An entry settles the hold of its own decision, merchant, operation and amount, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from chassis.access_log import LogEntry
from policy.handoff import NONE, VERSION
from policy.money import MAX_AMOUNT_MINOR
from ratelimit.ledger import Outcome, Settlement
from ratelimit.posting import hold_about, hold_key
from ratelimit.tables import Tables

RETRIES_TAG: Final = "tollhouse.upstream_retries"
UNSENT_ONLY: Final = "unsent_only"
"""What Envoy's configuration says where it retries only what no upstream can have read (envoy/tollhouse.yaml)."""

_VIA_UPSTREAM: Final = "via_upstream"
_NEVER_SENT: Final = re.compile(
    r"no_healthy_upstream\Z|cluster_not_found\Z|route_not_found\Z|direct_response\Z"
    r"|rbac_access_denied|ext_authz_(?:denied|error)\Z|request_rate_limited\Z|rate_limiter_error\Z"
    r"|upstream_reset_before_response_started\{(?:remote_|local_)?connection_failure"
    r"|upstream_reset_before_response_started\{overflow"
)
"""How Envoy says that it has answered by itself and reached no upstream (envoy StreamInfo::ResponseCodeDetailValues).

Each was seen in a real Envoy with no byte sent: decision 0022 has the table.
"""

_CALLER_LEFT: Final = frozenset({"downstream_connection_termination", "downstream_remote_reset"})
_NO_HOST_FLAG: Final = "upstream_connection_failure"
_AMOUNT: Final = re.compile(r"(?:0|[1-9][0-9]{0,15})\Z")
_CURRENCY: Final = re.compile(r"[A-Z]{3}\Z")
_DECISION_ID: Final = re.compile(r"[0-9a-f]{32}\Z")


def classify(entry: LogEntry, declined: frozenset[int]) -> Outcome:
    """Return what an entry says of its payment.

    Args:
        entry: Of a request that was let through.
        declined: Statuses with which the operation's upstream says that it did not take the payment.
    """
    if _is_taken(entry):
        return Outcome.SPENT
    if entry.attempts > 1 and entry.tags.get(RETRIES_TAG) != UNSENT_ONLY:
        # The last attempt is what the entry tells of; an earlier one may have been carried out.
        return Outcome.IN_DOUBT
    return Outcome.RELEASED if _is_declined(entry, declined) or _is_never_sent(entry) else Outcome.IN_DOUBT


def _is_taken(entry: LogEntry) -> bool:
    return entry.details == _VIA_UPSTREAM and 200 <= entry.status < 400


def _is_declined(entry: LogEntry, declined: frozenset[int]) -> bool:
    """Tell whether the upstream itself has answered so, to the end."""
    return entry.details == _VIA_UPSTREAM and entry.status in declined and not entry.flags


def _is_never_sent(entry: LogEntry) -> bool:
    """Tell whether Envoy has answered by itself and no byte of the request has left it."""
    is_silent = not entry.is_sent and (not entry.has_upstream or _NO_HOST_FLAG in entry.flags)
    is_answered = entry.status > 0 and entry.flags.isdisjoint(_CALLER_LEFT)
    return is_silent and is_answered and _NEVER_SENT.match(entry.details) is not None


class OutcomeReader:
    """Makes settlements of log entries.

    Args:
        tables: Returns the active snapshot, or None when no policy is loaded.
    """

    def __init__(self, tables: Callable[[], Tables | None]) -> None:
        self._tables = tables

    def read(self, entry: LogEntry) -> Settlement | str:
        """Return what an entry settles, or in a word why it settles nothing.

        Returns:
            `refused`: extauthz let nothing through, or the entry is of another request. `malformed`: not the hand-off.
            `unknown`: no such merchant or operation. `nothing_held`: what it is counted by waits for no outcome.
        """
        said = entry.metadata
        if said.get("verdict") != "allow":
            return "refused"
        tables = self._tables()
        about = _about(said)
        if about is None:
            return "malformed"
        plan = None if tables is None else tables.plans.get(said["merchant_id"], {}).get(said["operation"])
        if tables is None or plan is None:
            return "unknown"
        if not plan.is_held:
            return "nothing_held"
        outcome = classify(entry, tables.declined.get(said["operation"], frozenset()))
        return Settlement(hold_key(said["merchant_id"], said["decision_id"]), said["decision_id"], about, outcome)


def _about(said: Mapping[str, str]) -> str | None:
    """Return what the hold of this hand-off was written about; None for what is no hand-off of this version."""
    currency, amount = said.get("currency", ""), said.get("amount_minor", "")
    if said.get("handoff") != VERSION or not _DECISION_ID.match(said.get("decision_id", "")):
        return None
    if not said.get("merchant_id") or not said.get("operation"):
        return None
    if (currency, amount) == (NONE, NONE):
        return hold_about(said["merchant_id"], said["operation"], None, None)
    if not _CURRENCY.match(currency) or not _AMOUNT.match(amount) or int(amount) > MAX_AMOUNT_MINOR:
        return None
    return hold_about(said["merchant_id"], said["operation"], currency, int(amount))
