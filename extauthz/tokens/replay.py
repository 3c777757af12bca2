"""Which DPoP proofs were used: a mark each, shared by all replicas (RFC 9449 section 11.1).

Called by `constraint` once a proof is found good, so nobody can use up a proof that he cannot sign. Its law: a
proof passes one request; a store that gives no answer lets none pass.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final, Protocol

from chassis.clock import Clock
from chassis.store_link import StoreUnavailable, Unavailability
from extauthz.model import AuthzRequest

MAX_MEMORY_MARKS: Final = 100_000


class ReplayStore(Protocol):
    """Remembers marks for a while."""

    @property
    def is_available(self) -> bool:
        """Whether a mark set now has somewhere to go."""

    async def start(self) -> None:
        """Begin; never fails because the store is away."""

    async def stop(self) -> None:
        """End."""

    async def use(self, mark: str, request: str, lifetime_seconds: float, deadline: float) -> bool:
        """Mark a proof as used; return False when another request has used it.

        Args:
            mark: From `proof_mark`.
            request: From `request_identity`: the same request may come again, any other may not.
            lifetime_seconds: How long the proof could be accepted.
            deadline: On the clock's `monotonic()`.

        Raises:
            StoreUnavailable: No answer; the mark may be set all the same.
        """


def proof_mark(jkt: str, jti: str) -> str:
    """Return what a proof is known by: its key and `jti`, never its text, for an ECDSA signature has two texts."""
    return hashlib.sha256(f"{jkt}.{jti}".encode("utf-8", "surrogatepass")).hexdigest()


def request_identity(request: AuthzRequest) -> str:
    """Return what stays the same when Envoy asks another replica about one request, and nothing else repeats.

    Envoy draws the stream's number and reads the time itself, so no client can make a second request that looks like
    the first. Without them the text is empty, and no use of a proof is forgiven.
    """
    if not request.stream_id or not request.time:
        return ""
    seen = hashlib.sha256(request.body)
    facts = (
        request.stream_id,
        repr(request.time),
        request.request_id,
        request.peer_ip,
        str(request.peer_port),
        request.method,
        request.host,
        request.path,
    )
    seen.update("\n".join(facts).encode("utf-8", "surrogatepass"))
    return seen.hexdigest()


class MemoryReplays:
    """Marks of one lone process, which forgets them when it ends; for development and tests.

    Args:
        clock: `monotonic()` ages marks.
        max_marks: More are refused: forgetting one early would let its proof pass twice.
    """

    def __init__(self, clock: Clock, max_marks: int = MAX_MEMORY_MARKS) -> None:
        self._clock = clock
        self._max_marks = max_marks
        self._marks: OrderedDict[str, tuple[str, float]] = OrderedDict()

    @property
    def is_available(self) -> bool:
        """Always: there is nothing to reach."""
        return True

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def use(self, mark: str, request: str, lifetime_seconds: float, deadline: float) -> bool:
        """Mark a proof as used; see `ReplayStore.use`."""
        now = self._clock.monotonic()
        if now >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        while self._marks and next(iter(self._marks.values()))[1] <= now:
            self._marks.popitem(last=False)
        known = self._marks.get(mark)
        if known is not None and known[1] > now:
            return bool(request) and known[0] == request
        if len(self._marks) >= self._max_marks:
            raise StoreUnavailable(Unavailability.FULL)
        self._marks[mark] = (request, now + lifetime_seconds)
        self._marks.move_to_end(mark)
        return True
