"""Step `hit`, with everything a quota may count: what a ledger promises, whichever store it stands on.

A posting is all that one payment is counted by. The law of every ledger: each entry is judged first; one enforced entry
over its limit, and nothing at all is written (a denied request is free). Else every enforced entry is added, and each
shadow entry that is itself not over. A posting may be held: what its held entries added is given back when the upstream
provably did not take the payment, once, in the window that was charged, whatever arrives twice or late. Until then, and
without any word for ever, it is spent: usage is never less than the payments settled or in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

MAX_COUNT = 2**53 - 1
"""Largest limit, cost and count: above it the store's Lua, which computes in doubles, miscounts."""
MAX_EXPIRY_SECONDS = 10 * 366 * 86_400
MAX_ENTRIES = 64
MAX_TEXT_BYTES = 1024
MAX_BUCKETS = 100
MAX_MEMBERS = 10_000
"""Largest limit of distinct members and of leases: each is one element of one sorted set."""
MAX_EMISSION_MICROSECONDS = 366 * 86_400 * 1_000_000


class Kind(IntEnum):
    """How an entry counts.

    WINDOW: what is added within one named window; `key` names the window too. Exact.
    SLIDING: what was added within the last `buckets` x `bucket_milliseconds`; the bucket in which that span begins
        counts whole, so never more than the limit fits into any span, and up to one bucket more may be refused.
    RATE: the generic cell rate algorithm: `limit` at once, then one per `emission_microseconds`. Exact.
    DISTINCT: different members within the last `span_milliseconds` (0: within the key's life). Exact.
    LEASE: members at the same time; each ends when its payment is settled, at the latest after `span_milliseconds`.
    """

    WINDOW = 0
    SLIDING = 1
    RATE = 2
    DISTINCT = 3
    LEASE = 4


class Entry(NamedTuple):
    """One counter of one posting.

    Attributes:
        key: The counter's name, at most `MAX_TEXT_BYTES` of UTF-8. All keys of a posting share their hash tag.
        limit: The most that is allowed, 0 to `MAX_COUNT`; for RATE the burst, for DISTINCT and LEASE to `MAX_MEMBERS`.
        cost: What is added, 0 to `MAX_COUNT`; 0 looks and writes nothing. DISTINCT and LEASE add one member.
        expires_in_seconds: The counter is forgotten this long after its last charge.
        kind: How it counts.
        is_shadow: Counted and reported, never a reason to refuse.
        is_once: Left out where the posting repeats a payment that is counted already (see `Identity`).
        is_held: Given back on release; only WINDOW and SLIDING, and only together with `is_once`.
        step: SLIDING: milliseconds of a bucket; RATE: microseconds of one emission; DISTINCT, LEASE: span in
            milliseconds.
        buckets: SLIDING: how many buckets the span has, 1 to `MAX_BUCKETS`.
        member: DISTINCT, LEASE: whom it counts.
        lease: WINDOW: names the counter whatever its window, where shares of it may be drawn; see `ratelimit.leased`.
    """

    key: str
    limit: int
    cost: int
    expires_in_seconds: int
    kind: Kind = Kind.WINDOW
    is_shadow: bool = False
    is_once: bool = False
    is_held: bool = False
    step: int = 0
    buckets: int = 0
    member: str = ""
    lease: str = ""


class Reading(NamedTuple):
    """What the ledger found for one entry.

    Attributes:
        used: The count after this posting when it was added, else the count as found.
        is_over: The count as found plus the cost is above the limit.
    """

    used: int
    is_over: bool


class CounterFault(Exception):  # noqa: N818 - the word of the ledger's law
    """One posting alone failed and wrote nothing: a key holds no counter, or a number is out of range.

    The text is fixed; it names neither key nor value.
    """


class Identity(NamedTuple):
    """What makes two requests one payment, where the upstream itself takes a payment only once.

    Attributes:
        key: Names merchant, client, operation and idempotency key, hashed; shares the posting's hash tag.
        digest: Keyed digest of the canonical body; the same key with another digest is refused.
        seconds: How long it is remembered.
    """

    key: str
    digest: str
    seconds: int


class Hold(NamedTuple):
    """Asks to keep a posting open for its outcome.

    Attributes:
        key: Names the decision; shares the posting's hash tag.
        decision_id: Of the request; the participant that an outcome settles.
        about: Merchant, operation, currency and amount as one text; an outcome that says otherwise settles nothing.
        seconds: How long outcomes are taken; after it the payment stays spent.
        identity: Where the operation's upstream enforces idempotency.
    """

    key: str
    decision_id: str
    about: str
    seconds: int
    identity: Identity | None = None


class Posting(NamedTuple):
    """Everything that one payment is counted by.

    Attributes:
        entries: At least one, no key twice.
        valid_from_ms: Start of the newest window of its entries, milliseconds since 1970; 0 without windows.
        valid_until_ms: First moment after the oldest; 0 without windows.
        hold: None where nothing is held.
    """

    entries: Sequence[Entry]
    valid_from_ms: int = 0
    valid_until_ms: int = 0
    hold: Hold | None = None


class Status(IntEnum):
    """What became of a posting.

    STALE: The store's clock is outside the windows it was made for: nothing was written; make it again for `now_ms`.
    MISMATCH: The identity is known with another digest: nothing was written.
    REPEATED: The payment is counted already; only entries that are not `is_once` were added.
    """

    OVER = 0
    CHARGED = 1
    STALE = 3
    MISMATCH = 4
    REPEATED = 5


class PostResult(NamedTuple):
    """The outcome of a posting.

    Attributes:
        status: See there.
        readings: In the order of the entries; empty for STALE and MISMATCH. An entry left out of a repeated payment
            reads as found and not over.
        waits_ms: For each reading, milliseconds until an entry that is over might fit; 0 where it is not over, or where
            the window's end says so.
        now_ms: The store's time, for STALE; else 0.
    """

    status: Status
    readings: tuple[Reading, ...] = ()
    waits_ms: tuple[int, ...] = ()
    now_ms: int = 0


class Outcome(IntEnum):
    """What is known about a payment afterwards.

    RELEASED: The upstream provably did not take it.
    SPENT: It took it.
    IN_DOUBT: Nobody knows, so it counts as taken; its lease runs on.
    """

    RELEASED = 0
    SPENT = 1
    IN_DOUBT = 2


class Settled(IntEnum):
    """What a settlement did.

    UNKNOWN: No such hold, or this participant is settled already: nothing changed.
    DONE: The outcome is written.
    OTHERWISE: `about` differs from the hold's: nothing changed.
    WAITS: Released as far as this participant goes; a repeat of the payment is still open or was taken.
    """

    UNKNOWN = 0
    DONE = 1
    OTHERWISE = 2
    WAITS = 3


class Settlement(NamedTuple):
    """One outcome of one decision; `key`, `decision_id` and `about` are those of its `Hold`."""

    key: str
    decision_id: str
    about: str
    outcome: Outcome


class Ledger(Protocol):
    """Where postings are written."""

    async def start(self) -> None:
        """Begin background work; never fails because a remote store is away."""

    async def stop(self) -> None:
        """End background work; whoever still waits gets `StoreUnavailable`."""

    async def post(self, posting: Posting, deadline: float) -> PostResult:
        """Judge all entries, then add all or none.

        Args:
            posting: What is counted.
            deadline: On `Clock.monotonic()`; past it nobody waits for the answer.

        Raises:
            StoreUnavailable: No answer. The posting may have been counted all the same, and is never sent twice.
            CounterFault: This posting alone cannot be counted; nothing was written for it.
        """

    async def settle(self, settlement: Settlement, deadline: float) -> Settled:
        """Write the outcome of a held posting; raises `StoreUnavailable`, after which it may be sent again."""

    @property
    def is_available(self) -> bool:
        """Whether a posting sent now has a store to go to."""

    def doubt_about(self, key: str) -> str:
        """Return why amounts cannot be counted at a key, a fixed text; empty when nothing speaks against it.

        Asked after a posting, it knows what its call found: an emptied store is noticed by the first one after.
        """

    @property
    def is_doubted(self) -> bool:
        """Whether amounts cannot be counted at some key."""

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know about the store, doubts included."""


def check_posting(posting: Posting) -> None:
    """Raise `CounterFault` unless a ledger can count this posting exactly."""
    entries = posting.entries
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise CounterFault("a posting needs between 1 and 64 entries")
    for entry in entries:
        _check_entry(entry)
    if len({entry.key for entry in entries}) != len(entries):
        # Judged one by one, each would pass where their sum does not.
        raise CounterFault("two entries of one posting name the same counter")
    if not 0 <= posting.valid_from_ms <= posting.valid_until_ms <= MAX_COUNT:
        raise CounterFault("the windows of a posting do not meet")
    if posting.hold is not None:
        _check_hold(posting.hold)
    elif any(entry.is_held for entry in entries):
        raise CounterFault("held entries need a hold")


def _check_entry(entry: Entry) -> None:
    if not _is_whole(entry.limit, 0, MAX_COUNT) or not _is_whole(entry.cost, 0, MAX_COUNT):
        raise CounterFault("limit and cost must be whole numbers up to 2^53-1")
    if not _is_whole(entry.expires_in_seconds, 1, MAX_EXPIRY_SECONDS):
        raise CounterFault("the expiry must be a whole number of seconds")
    if not _is_text(entry.key):
        raise CounterFault("a key must be text of 1 to 1024 bytes")
    if entry.is_held and not (entry.is_once and entry.kind in (Kind.WINDOW, Kind.SLIDING)):
        raise CounterFault("only what is counted once in a window can be held")
    if not _IS_SOUND[entry.kind](entry):
        raise CounterFault("the entry's numbers do not fit its kind")


def _is_rate(entry: Entry) -> bool:
    # The burst's whole time and a cost's stay below 2^53 microseconds together with the present.
    return (
        _is_whole(entry.step, 1, MAX_EMISSION_MICROSECONDS)
        and max(entry.limit, entry.cost) * entry.step <= MAX_EMISSION_MICROSECONDS * 10
    )


def _is_member(entry: Entry) -> bool:
    return (
        entry.limit <= MAX_MEMBERS
        and entry.cost <= 1
        and _is_text(entry.member)
        and _is_whole(entry.step, 0 if entry.kind is Kind.DISTINCT else 1, MAX_EXPIRY_SECONDS * 1000)
    )


_IS_SOUND = {
    Kind.WINDOW: lambda entry: entry.step == 0,
    Kind.SLIDING: lambda entry: (
        _is_whole(entry.step, 1, MAX_EXPIRY_SECONDS * 1000) and 1 <= entry.buckets <= MAX_BUCKETS
    ),
    Kind.RATE: _is_rate,
    Kind.DISTINCT: _is_member,
    Kind.LEASE: _is_member,
}


def _check_hold(hold: Hold) -> None:
    texts = [hold.key, hold.decision_id, hold.about]
    seconds = [hold.seconds]
    if hold.identity is not None:
        texts += [hold.identity.key, hold.identity.digest]
        seconds.append(hold.identity.seconds)
    if not all(map(_is_text, texts)) or not all(_is_whole(number, 1, MAX_EXPIRY_SECONDS) for number in seconds):
        raise CounterFault("a hold needs texts of 1 to 1024 bytes and whole seconds")
    if hold.identity is not None and " " in hold.identity.digest:
        raise CounterFault("a digest holds no space")


def _is_whole(value: int, lowest: int, highest: int) -> bool:
    return type(value) is int and lowest <= value <= highest


def _is_text(text: str) -> bool:
    if type(text) is not str or not 1 <= len(text) <= MAX_TEXT_BYTES:
        return False
    try:
        return text.isascii() or len(text.encode()) <= MAX_TEXT_BYTES
    except UnicodeEncodeError:
        return False
