"""A token issuer's introspection endpoint over real HTTP or HTTPS; what a test may want to break is an attribute."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Reply = dict[str, Any] | bytes


@dataclass
class IntrospectionServer:
    """Answers about tokens.

    Attributes:
        say: Returns the reply to the token of a question: members, or bytes as they are.
        status: Of every reply.
        content_type: Of every reply.
        gate: Questions wait here; cleared, nothing is answered.
        questions: The form of each question, in order.
        authorizations: The `authorization` header of each question.
        certificates: The client certificate of each question, as Python tells it.
        tls: Serves HTTPS when set.
    """

    say: Callable[[str], Reply] = lambda _token: {"active": False}
    status: int = 200
    content_type: str = "application/json"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    questions: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    certificates: list[Any] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> IntrospectionServer:
        self.gate.set()
        application = web.Application()
        application.router.add_post("/introspect", self.answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        scheme = "http" if self.tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}/introspect"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one question, noting what was asked."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.questions.append(form)
        self.authorizations.append(request.headers.get("authorization"))
        assert request.transport is not None
        tls = request.transport.get_extra_info("ssl_object")
        self.certificates.append(None if tls is None else tls.getpeercert())
        await self.gate.wait()
        said = self.say(form["token"])
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        return web.Response(body=body, status=self.status, headers={"content-type": self.content_type})
