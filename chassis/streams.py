"""Client streams: calls that bring messages for as long as their caller likes, within bounds.

Used by both transports. Its law: a stream holds nothing up. It ends when the service stops, after `max_seconds` in any
case, and there are so many at most; a caller that is told to come again opens another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from chassis.listen import HostOptions
from chassis.rpc import RpcError, StatusCode, StreamHandler, StreamMethods

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """What streams may take up.

    Attributes:
        max_streams: Open at the same time; an Envoy opens one for each of its workers.
        frame_seconds: How long the rest of a message may take, once its beginning is there.
    """

    max_streams: int = 256
    frame_seconds: float = 5.0


class OpenStreams:
    """The streams of one process; belongs to one event loop.

    Args:
        methods: Full method path to its handler.
        max_seconds: Longest time that one stream stays open.
        bounds: Number, and patience.

    Attributes:
        methods: See there.
        bounds: See there.
    """

    def __init__(self, methods: StreamMethods, max_seconds: float, bounds: StreamBounds = StreamBounds()) -> None:
        self.methods = methods
        self.bounds = bounds
        self._max_seconds = max_seconds
        self._open = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream, and let no other begin."""
        self._closing.set()

    async def serve(self, handler: StreamHandler, messages: AsyncGenerator[bytes, None]) -> bytes:
        """Run a handler over the messages of one call, until they or their time are over.

        Raises:
            RpcError: UNAVAILABLE while the service stops, RESOURCE_EXHAUSTED for one stream too many, what the handler
                or the transport raises, INTERNAL for any other fault.
        """
        if self._closing.is_set():
            raise RpcError(StatusCode.UNAVAILABLE, "the service is stopping")
        if self._open >= self.bounds.max_streams:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "too many streams")
        self._open += 1
        try:
            return await handler(self._until_over(messages))
        finally:
            self._open -= 1

    async def _until_over(self, messages: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        end = asyncio.get_running_loop().time() + self._max_seconds
        closing = asyncio.create_task(self._closing.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(messages))
                left = max(0.0, end - asyncio.get_running_loop().time())
                await asyncio.wait({coming, closing}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
                    return
                try:
                    message = coming.result()
                except StopAsyncIteration:
                    return
                yield message
        finally:
            closing.cancel()
            await messages.aclose()


def guarded_streams(methods: StreamMethods, options: HostOptions) -> StreamMethods:
    """Return the methods for callers that nobody can be mistaken for; for all others each is refused.

    Whoever can reach a listener on loopback or a Unix socket is believed. From elsewhere a certificate has to name a
    caller that this method has been given (`TlsOptions.method_sans`), which the transport checks.
    """
    named = () if options.tls is None else tuple(method for method, _ in options.tls.method_sans)
    return {
        path: handler if options.listen.is_local or (options.is_mutual_tls and path in named) else _refuse
        for path, handler in methods.items()
    }


async def _refuse(messages: AsyncIterator[bytes]) -> bytes:
    raise RpcError(StatusCode.PERMISSION_DENIED, "no caller was named for this method")
