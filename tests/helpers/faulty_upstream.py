"""An upstream that takes payments and then answers, or fails, as the payment's reference says."""

from __future__ import annotations

import asyncio
import contextlib
import json


class FaultyUpstream:
    """Listens on loopback. References: `s402` answers with that status, `wait`, `hang`, `close`, `reset`, `cut`.

    Attributes:
        port: Where it listens.
        taken: References of the payments whose whole body it has read.
        has_begun: Set when a request has begun to arrive.
        may_answer: Set when `wait` is to be answered, with 200.
    """

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[str] = []
        self.has_begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FaultyUpstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        self.has_begun.set()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        reference = json.loads(await reader.readexactly(length))["reference"]
        self.taken.append(reference)
        if reference == "wait":
            await self.may_answer.wait()
            reference = "s200"
        if reference.startswith("s"):
            answer = b'{"status": "told"}'
            writer.write(f"HTTP/1.1 {reference[1:]} Told\r\ncontent-length: {len(answer)}\r\n\r\n".encode() + answer)
            await writer.drain()
        elif reference == "hang":
            await reader.read()  # until Envoy gives up
        elif reference == "cut":
            writer.write(b"HTTP/1.1 402 Told\r\ncontent-length: 100\r\n\r\nhalf")
            await writer.drain()
            writer.transport.abort()
        elif reference == "reset":
            writer.transport.abort()
