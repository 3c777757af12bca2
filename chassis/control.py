"""The control socket between the supervising process and the service embedded in Envoy.

One JSON object a line. The embedded side reports `started` or `refused`; the supervisor sends `drain`.
End of file means that the other side is gone: the reason why this is a socket and not a signal.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Any

_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Started:
    """The service runs; its listener is about to open."""

    name: str
    admin_url: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The service must not run; each problem is a line for a person."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Show NOT_SERVING from now on."""


Message = Started | Refused | Drain


class ControlSocket:
    """One end of the control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> ControlSocket:
        """Take over one end of a socket pair."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end, limit=_MAX_LINE_BYTES))

    async def send(self, message: Message) -> None:
        """Send one message; quietly nothing when the other side is gone."""
        try:
            self._writer.write(_encode(message))
            await self._writer.drain()
        except OSError:
            return

    async def receive(self) -> Message | None:
        """Return the next message, None once the other side is gone."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            return None
        return _decode(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Close this end."""
        self._writer.close()


def _encode(message: Message) -> bytes:
    match message:
        case Started():
            fields: dict[str, Any] = {"started": {"name": message.name, "admin_url": message.admin_url}}
        case Refused():
            fields = {"refused": list(message.problems)}
        case Drain():
            fields = {"drain": True}
    return json.dumps(fields).encode() + b"\n"


def _decode(line: bytes) -> Message:
    fields = json.loads(line)
    if "started" in fields:
        return Started(fields["started"]["name"], fields["started"]["admin_url"])
    if "refused" in fields:
        return Refused(tuple(fields["refused"]))
    return Drain()
