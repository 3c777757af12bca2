"""A payments service to put the gate in front of: it approves everything and counts what reached it.

Run as `python -m tollhouse.upstream PORT STATS_PORT [HOST]`. `GET /_stats` on the second port, which is always on
loopback and which the gate does not lead to, tells how many requests came, how many for each path, and which header
names the last had.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Final

from aiohttp import web

from tollhouse.probe import LOOPBACK

_BODY_LIMIT_BYTES: Final = 1 << 20


class SampleUpstream:
    """Counts requests; answers a payment with 200 and a reference."""

    def __init__(self) -> None:
        self._requests = 0
        self._paths: Counter[str] = Counter()
        self._last_headers: list[str] = []

    def payments(self) -> web.Application:
        """Return the application that the gate forwards to."""
        app = web.Application(client_max_size=_BODY_LIMIT_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    def stats(self) -> web.Application:
        """Return the application that tells what arrived."""
        app = web.Application()
        app.router.add_get("/_stats", self._stats)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        await request.read()
        self._requests += 1
        self._paths[f"{request.method} {request.path}"] += 1
        # Names only: a value may be a token.
        self._last_headers = sorted({name.lower() for name in request.headers})
        return web.json_response({"status": "approved", "payment_id": f"pay_{self._requests}"})

    async def _stats(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {"requests": self._requests, "paths": dict(self._paths), "last_headers": self._last_headers}
        )


async def serve(port: int, stats_port: int, host: str = LOOPBACK) -> None:
    """Serve payments on `host` and the counts on loopback until cancelled."""
    upstream = SampleUpstream()
    for app, address, number in ((upstream.payments(), host, port), (upstream.stats(), LOOPBACK, stats_port)):
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, address, number).start()
    print(f"sample upstream serving on http://{host}:{port}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4]))
