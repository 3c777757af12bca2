"""Things that go wrong between the link and its store: a proxy that cuts, a server that lies."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import hiredis


async def until(condition: Callable[[], bool], *, within_seconds: float = 10.0) -> None:
    """Wait for a condition, looking again and again; fail when it does not come."""
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110 - nothing announces these conditions
            await asyncio.sleep(0.005)


class Proxy:
    """Forwards TCP connections to a Unix socket until told otherwise.

    Attributes:
        cut_reply_after: Replies are passed on up to this many bytes in all, then the connection is cut.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""
        self.cut_reply_after: int | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection in an orderly way, whatever is under way."""
        for writer in tuple(self._connections):
            writer.close()

    def reset(self) -> None:
        """End every connection with a TCP reset."""
        for writer in tuple(self._connections):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                store_reader, store_writer = await asyncio.open_unix_connection(self._target)
                self._connections |= {writer, store_writer}
                await asyncio.gather(
                    self._pump(reader, store_writer, is_reply=False), self._pump(store_reader, writer, is_reply=True)
                )
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_reply and self.cut_reply_after is not None:
                    data, rest = data[: self.cut_reply_after], data[self.cut_reply_after :]
                    self.cut_reply_after -= len(data)
                    writer.write(data)
                    if rest or not self.cut_reply_after:
                        self.cut_reply_after = None
                        break
                else:
                    writer.write(data)
        self._connections.discard(writer)
        writer.close()


@asynccontextmanager
async def proxied(store_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the embedded store at `store_url`."""
    proxy = Proxy(store_url.removeprefix("unix://"))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


Reply = Callable[[int], bytes | None]
"""Sequence number to the bytes that answer the call; None says nothing and ends the connection."""


class FakeStore:
    """A store that takes every script and answers calls as `reply` says.

    Attributes:
        reply: May be changed at any time.
        sequences: The sequence number of every call received, on all connections.
        connections: How many were accepted.
    """

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.sequences: list[int] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        commands = hiredis.Reader()
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    commands.feed(data)
                    while (command := commands.gets()) is not False:
                        answer = self._answer(command)
                        if answer is None:
                            return
                        writer.write(answer)
        finally:
            writer.close()

    def _answer(self, command: list[bytes]) -> bytes | None:
        if command[0] == b"SCRIPT":
            return b"$40\r\n%s\r\n" % hashlib.sha1(command[2], usedforsecurity=False).hexdigest().encode()
        sequence = int(command[3 + int(command[2])])
        self.sequences.append(sequence)
        return self.reply(sequence)


def echo(sequence: int) -> bytes:
    """What a proper store answers to a script that returns {sequence, sequence}."""
    return b"*2\r\n:%d\r\n:%d\r\n" % (sequence, sequence)


@asynccontextmanager
async def fake_store(reply: Reply = echo, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeStore]:
    """A fake store that listens, with TLS if told how."""
    store = FakeStore(reply)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(store.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    store.url = f"{'rediss' if tls else 'redis'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield store
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
