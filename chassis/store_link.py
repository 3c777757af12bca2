"""The link to a Redis or Valkey store: scripts, called pipelined over one connection.

redis-py brings topology, TLS, login and the parser; this module owns the order of replies. Its law:
only the reader task reads; a caller that gives up leaves its place in the queue; whatever goes
wrong on a connection ends it, and every caller of its queue gets `StoreUnavailable`; nothing is
ever sent twice. A call that failed may have run all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from chassis.clock import Clock
from chassis.store_channel import ChannelRules, StoreChannel, StoreUnavailable, Unavailability
from chassis.store_places import close, store_opener
from chassis.store_url import StoreLogin
from chassis.store_watch import StoreWatch

__all__ = ["StoreLink", "StoreSettings", "StoreUnavailable", "Unavailability"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Bounds of a link.

    Attributes:
        connect_timeout_seconds: For connecting, login and loading the scripts together.
        reply_timeout_seconds: A call unanswered for so long ends its connection. Callers wait no
            longer than their own deadlines, which are shorter.
        max_waiting_calls: Calls without a reply, those of callers that gave up included.
        max_unsent_bytes: Bytes that the socket has not taken yet.
        first_backoff_seconds: Pause before the first new attempt to connect; it doubles each time.
        max_backoff_seconds: Longest pause between two attempts.
        stalled_after_seconds: While a call has been unanswered for so long, no further one is sent.
        wait_replicas: How many replicas must confirm each call before it counts as answered (WAIT); 0: none.
        login: Password from a file; None where the URL says all.
        watch: Asks the store at every connect what it is, and sees its epoch with every reply; None: nobody needs it.
    """

    connect_timeout_seconds: float = 1.0
    reply_timeout_seconds: float = 1.0
    stalled_after_seconds: float = 0.5
    max_waiting_calls: int = 1024
    max_unsent_bytes: int = 8 * 1024 * 1024
    first_backoff_seconds: float = 0.05
    max_backoff_seconds: float = 2.0
    wait_replicas: int = 0
    login: StoreLogin | None = None
    watch: StoreWatch | None = None


@dataclass(frozen=True, slots=True)
class _Script:
    text: str
    sha: bytes


class StoreLink:
    """Calls scripts of a store, each with a deadline; connects again by itself.

    Every script must return a list whose first element is its first argument (ARGV[1]) as a
    number: the call's sequence number, which proves whose reply it is.

    Args:
        url: `redis://[user:pass@]host[:port][/db]`, `rediss://…`, `unix:///path[?db=N]`, or sentinels: `store_opener`.
        scripts: Name to Lua text; loaded at every connect.
        clock: `monotonic()` is what deadlines are measured on.
        settings: Bounds.
        draw: A number in [0, 1), for spreading attempts to connect.

    Raises:
        ValueError: The URL is not one of the above; its text is not repeated.
    """

    def __init__(
        self,
        url: str,
        scripts: Mapping[str, str],
        *,
        clock: Clock,
        settings: StoreSettings = StoreSettings(),
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._open = store_opener(url, settings.connect_timeout_seconds, settings.login)
        self.watch = watch = settings.watch
        self._scripts = {name: _script(text if watch is None else watch.wrap(text)) for name, text in scripts.items()}
        self._clock = clock
        self._settings = settings
        self._draw = draw
        # Links of several processes start apart, so a reply of another's call is never taken for ours.
        self._sequence = int(draw() * 2**48)
        self._channel: StoreChannel | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._first_attempt_over = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether a call made now would be sent."""
        return self._channel is not None and self._channel.is_open

    @property
    def is_stalled(self) -> bool:
        """Whether the store has left a call unanswered for too long to ask it anything more."""
        channel = self._channel
        return channel is not None and channel.is_stalled(
            self._clock.monotonic() - self._settings.stalled_after_seconds
        )

    async def start(self) -> None:
        """Begin to connect; returns once the first attempt has succeeded or failed, and never fails."""
        if self._keeper is None:
            self._first_attempt_over.clear()
            self._keeper = asyncio.create_task(self._keep_connected(), name="store-link")
        await self._first_attempt_over.wait()

    async def stop(self) -> None:
        """Close; callers still waiting get `StoreUnavailable`."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        self._first_attempt_over.set()

    async def call(self, script: str, keys: Sequence[str], args: Sequence[str | int], deadline: float) -> list[Any]:
        """Run one script and return its reply without the sequence number.

        Args:
            script: A name given at construction.
            keys: KEYS of the script.
            args: ARGV of the script from the second on.
            deadline: On the clock's `monotonic()`.

        Raises:
            StoreUnavailable: No reply; the script may have run all the same.
        """
        reply = self.submit(script, keys, args, deadline)
        timer = asyncio.get_running_loop().call_later(deadline - self._clock.monotonic(), give_up, reply)
        try:
            return await reply
        finally:
            timer.cancel()

    def submit(
        self,
        script: str,
        keys: Sequence[str],
        args: Sequence[str | int],
        deadline: float,
        watch: StoreWatch | None = None,
    ) -> asyncio.Future[list[Any]]:
        """Send one call now and return its reply to come; `watch` judges its epoch in place of the link's own.

        The future is settled by the reply or the end of the connection, at the latest after
        `reply_timeout_seconds`; callers with a nearer deadline keep it themselves.

        Raises:
            StoreUnavailable: Nothing was sent.
        """
        channel = self._channel
        if channel is None or not channel.is_open:
            raise StoreUnavailable(Unavailability.NOT_CONNECTED)
        now = self._clock.monotonic()
        if now >= deadline:
            raise StoreUnavailable(Unavailability.DEADLINE)
        if channel.is_full(self._settings.max_waiting_calls, self._settings.max_unsent_bytes):
            raise StoreUnavailable(Unavailability.FULL)
        if self.is_stalled:
            raise StoreUnavailable(Unavailability.STALLED)
        self._sequence += 1
        sha = self._scripts[script].sha
        watch = watch or self.watch
        see = None
        if watch is not None:
            keys, see = (watch.key, *keys), watch.see
        packed = hiredis.pack_command((b"EVALSHA", sha, len(keys), *keys, self._sequence, *args))  # type: ignore[arg-type]
        if self._settings.wait_replicas:
            packed += self._wait(deadline - now)
        return channel.send(packed, self._sequence, now, see)

    def _wait(self, seconds: float) -> bytes:
        """Return the WAIT that goes out behind a call: it ends before the connection is given up for slow."""
        longest = min(seconds, self._settings.reply_timeout_seconds / 2)
        milliseconds = max(1, int(longest * 1000))  # 0 would wait for ever
        return hiredis.pack_command((b"WAIT", self._settings.wait_replicas, milliseconds))  # type: ignore[arg-type,no-any-return]

    async def _keep_connected(self) -> None:
        """Connect, serve until the connection ends, pause, again; until cancelled."""
        failures = 0
        while True:
            channel = await self._connect()
            self._first_attempt_over.set()
            if channel is not None and await self._serve(channel):
                failures = 0
            # A store that takes connections but answers no call is given the same pauses as one that is away.
            longest = self._settings.first_backoff_seconds * 2 ** min(failures, 32)
            failures += 1
            await asyncio.sleep(min(longest, self._settings.max_backoff_seconds) * (0.5 + self._draw() / 2))

    async def _serve(self, channel: StoreChannel) -> bool:
        """Hold an open channel until it ends; return whether it ever answered a call."""
        self._channel = channel
        log.info("store_connected")
        try:
            ended = await channel.run()
        finally:
            self._channel = None
        log.warning("store_lost: %s", ended.value)
        return channel.has_answered

    async def _connect(self) -> StoreChannel | None:
        connection = None
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                connection = await self._open()
                if self.watch is not None:
                    await self.watch.inspect(connection)
                for script in self._scripts.values():
                    await self._load(connection, script)
        except Exception as error:  # noqa: BLE001 - whatever answers at that address, the link tries again
            # The kind alone: a server's own words may repeat what was sent, the login included.
            log.warning("store_connect_failed: %s", type(error).__name__)
            if connection is not None:
                await close(connection)
            return None
        except BaseException:
            if connection is not None:
                await close(connection)
            raise
        rules = ChannelRules(self._settings.reply_timeout_seconds, self._settings.wait_replicas)
        return StoreChannel(connection, self._clock, rules)

    async def _load(self, connection: Any, script: _Script) -> None:
        await connection.send_command("SCRIPT", "LOAD", script.text)
        if await connection.read_response(disable_decoding=True) != script.sha:
            raise ValueError("the store names a script otherwise than we do")


def _script(text: str) -> _Script:
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode())


def give_up(reply: asyncio.Future[Any]) -> None:
    """Answer a caller whose deadline has come; its place in the queue stays."""
    if not reply.done():
        reply.set_exception(StoreUnavailable(Unavailability.DEADLINE))
