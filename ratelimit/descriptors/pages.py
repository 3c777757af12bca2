"""`/json` and the debug view: what envoyproxy/ratelimit shows over HTTP, off by default and on loopback alone.

Its law: `/json` charges limits like a call of Envoy's, so only programs of this machine may ask: no other address is
bound, no foreign Host is answered, and no web page is (a browser says so in Origin).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import orjson
from aiohttp import web
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError

from chassis.admin_access import HEADERS, only_local_names
from chassis.admin_listener import IDLE_SECONDS, AdminListener
from chassis.clock import Clock
from chassis.listen import ListenAddress, remove_dead_socket
from chassis.rpc import RpcError, UnaryHandler
from chassis.service import StartRefused
from policy.descriptors.tree import DescriptorSet, LimitRule, level_nodes
from protos import envoy_wire_pb2 as wire
from ratelimit.descriptors.wire import limit_text

MAX_BODY_BYTES: Final = 65_536
_SECONDS: Final = 1.0
_SHUTDOWN_SECONDS: Final = 1.0
_STATUS: Final[dict[int, int]] = {wire.RateLimitResponse.OK: 200, wire.RateLimitResponse.OVER_LIMIT: 429}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("ratelimit")


def page_address(text: str) -> ListenAddress:
    """Return the address of these pages; raises ValueError for one that other machines can reach."""
    address = ListenAddress.parse(text)
    if not address.is_local:
        raise ValueError(f"--json-listen {address} can be reached from other machines, and /json charges limits")
    return address


class LimitPages:
    """Serves `/json`, `/rlconfig` and `/descriptors`.

    Args:
        address: Loopback or a Unix socket.
        judge: Answers a serialised RateLimitRequest, as for Envoy.
        rules: Returns the active descriptors.
        clock: Deadlines.
    """

    def __init__(
        self, address: ListenAddress, judge: UnaryHandler, rules: Callable[[], DescriptorSet | None], clock: Clock
    ) -> None:
        self._address = address
        self._judge = judge
        self._rules = rules
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._listener: AdminListener | None = None

    @property
    def port(self) -> int:
        """Return the port that was bound; 0 for a Unix socket or before the start."""
        return 0 if self._listener is None else self._listener.port

    async def start(self) -> None:
        """Serve; raises StartRefused when the address cannot be bound."""
        app = web.Application(middlewares=self._middlewares(), client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/json", self._json)
        app.router.add_get("/rlconfig", self._rlconfig)
        app.router.add_get("/descriptors", self._descriptors)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, keepalive_timeout=IDLE_SECONDS
        )
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("the runner is set up before it is bound")
        try:
            self._listener = AdminListener(self._runner.server, self._address, None)
        except OSError as error:
            await self.stop()
            raise StartRefused((f"--json-listen {self._address} cannot be bound: {error.strerror}",)) from error
        shown = self._address if self._address.unix_path else self._address.with_port(self.port)
        log.info("limit pages on %s", shown)

    async def stop(self) -> None:
        """Close the listener and its connections."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.stop()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if listener is not None and self._address.unix_path is not None:
            with contextlib.suppress(OSError):
                remove_dead_socket(self._address.unix_path)

    def _middlewares(self) -> list[Any]:
        names = [] if self._address.unix_path is not None else [only_local_names]
        return [*names, _no_web_pages]

    async def _json(self, request: web.Request) -> web.Response:
        try:
            message = _read(await request.read())
            answer = await self._judge(message.SerializeToString(), self._clock.monotonic() + _SECONDS)
        except (ParseError, RpcError, ValueError):
            # envoyproxy/ratelimit tells a body that it cannot read and a store that is away by the same words.
            return web.Response(status=400, text="Bad Request\n", headers=HEADERS)
        response = wire.RateLimitResponse.FromString(answer)
        return web.Response(
            status=http_status(response.overall_code),
            text=MessageToJson(response, indent=None),
            content_type="application/json",
            headers=HEADERS,
        )

    async def _rlconfig(self, request: web.Request) -> web.Response:
        lines = [f"{rule.id}: {limit_text(rule)}{_flags(rule)}" for _, rule in _limits(self._rules())]
        return web.Response(text="".join(f"{line}\n" for line in lines), headers=HEADERS)

    async def _descriptors(self, request: web.Request) -> web.Response:
        rules = self._rules()
        body = {
            "revision": "" if rules is None else rules.revision,
            "compat": rules is not None and rules.is_compat,
            "limits": [
                {"domain": domain, "rule": rule.id, "limit": limit_text(rule), "place": str(rule.place)}
                for domain, rule in _limits(rules)
            ],
        }
        text = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        return web.Response(body=text, content_type="application/json", headers=HEADERS)


def _read(body: bytes) -> wire.RateLimitRequest:
    """Read the JSON form of a request; raises ValueError or ParseError for anything else."""
    found = orjson.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # the library takes a list for a message without fields
    return ParseDict(found, wire.RateLimitRequest())


def http_status(code: int) -> int:
    """Return the HTTP status of an overall code; 500 for UNKNOWN, which no answer of ours has."""
    return _STATUS.get(code, 500)


@web.middleware
async def _no_web_pages(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if "Origin" in request.headers:
        return web.Response(status=403, text="not for web pages\n", headers=HEADERS)
    return await handler(request)


def _limits(rules: DescriptorSet | None) -> Iterator[tuple[str, LimitRule]]:
    for domain in () if rules is None else rules.domains.values():
        waiting = [domain.root]
        while waiting:
            for node in level_nodes(waiting.pop()):
                if node.limit is not None:
                    yield domain.name, node.limit
                if node.children is not None:
                    waiting.append(node.children)


def _flags(rule: LimitRule) -> str:
    flags = {"shadow_mode": rule.is_shadow, "quota_mode": rule.is_quota}
    return "".join(f", {name}" for name, is_set in flags.items() if is_set)
