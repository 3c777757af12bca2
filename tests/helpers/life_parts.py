"""The parts around the gate for tests of its life, as processes that can be killed and paused.

Run as a script: `life_parts.py issuer PORT JWKS_FILE` or `life_parts.py upstream PORT JOURNAL`. The issuer's
keys are a file and the upstream's journal is a file, so that neither changes its mind when it starts again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

LOOPBACK = "127.0.0.1"


def issuer(port: int, jwks: Path) -> web.Application:
    """Serve OIDC discovery and the key set."""
    url = f"http://{LOOPBACK}:{port}"
    metadata = {"issuer": url, "jwks_uri": f"{url}/jwks.json"}
    documents = json.loads(jwks.read_text("utf-8"))

    async def discovery(_: web.Request) -> web.Response:
        return web.json_response(metadata)

    async def keys(_: web.Request) -> web.Response:
        return web.json_response(documents)

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", discovery)
    app.router.add_get("/jwks.json", keys)
    return app


def upstream(journal: Path) -> web.Application:
    """Approve every payment and write down its reference, one a line, before answering."""

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ready\n")

    async def pay(request: web.Request) -> web.Response:
        body = await request.json()
        with journal.open("a", encoding="utf-8") as lines:  # one short write: whole or not at all
            lines.write(f"{body['reference']}\n")
        return web.json_response({"status": "approved"})

    app = web.Application()
    app.router.add_get("/ready", ready)
    app.router.add_post("/v1/payments", pay)
    return app


async def main(part: str, port: int, file: Path) -> None:
    """Serve until the process is ended."""
    app = issuer(port, file) if part == "issuer" else upstream(file)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
