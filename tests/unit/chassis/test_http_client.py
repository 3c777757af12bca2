"""The HTTP client against a real server: bounds, and where it refuses to go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from chassis.http_client import (
    FetchFailed,
    HttpClient,
    _LocalResolver,
    _PublicResolver,
    is_loopback_host,
    is_private_address,
)


class Server:
    """Answers by path on loopback."""

    def __init__(self) -> None:
        self.base = ""
        self.seen: list[dict[str, str]] = []
        self.release = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        match request.path:
            case "/moved":
                return web.Response(status=302, headers={"location": "/plain"})
            case "/cookie":
                return web.Response(headers={"set-cookie": "a=b"})
            case "/gzip":
                return web.Response(body=b"x", headers={"content-encoding": "gzip"})
            case "/slow":
                await self.release.wait()
            case "/chunks":
                response = web.StreamResponse()
                await response.prepare(request)
                for _ in range(100):
                    await response.write(b"x" * 1000)
                return response
        return web.Response(body=b"hello", headers={"cache-control": "max-age=5"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.release.set()
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.stop()


async def _reason(client: HttpClient, url: str, **overrides) -> str:
    options = {"max_bytes": 1000, "timeout_seconds": 5, "allow_http": True, **overrides}
    with pytest.raises(FetchFailed) as caught:
        await client.get(url, **options)
    return caught.value.reason


async def test_get_returns_status_headers_and_body(server, client):
    reply = await client.get(f"{server.base}/plain", max_bytes=5, timeout_seconds=5, allow_http=True)
    assert (reply.status, reply.headers["cache-control"], reply.body) == (200, "max-age=5", b"hello")


async def test_get_never_follows_a_redirect(server, client):
    reply = await client.get(f"{server.base}/moved", max_bytes=1000, timeout_seconds=5, allow_http=True)
    assert reply.status == 302
    assert len(server.seen) == 1


async def test_get_keeps_no_cookie_and_asks_for_no_compression(server, client):
    for path in ("/cookie", "/plain"):
        await client.get(server.base + path, max_bytes=1000, timeout_seconds=5, allow_http=True)
    assert "cookie" not in server.seen[1]
    assert server.seen[1]["accept-encoding"] == "identity"


async def test_get_beyond_the_cap_fails(server, client):
    assert await _reason(client, f"{server.base}/plain", max_bytes=4) == "reply too long"
    assert await _reason(client, f"{server.base}/chunks") == "reply too long"


async def test_get_compressed_reply_fails(server, client):
    assert await _reason(client, f"{server.base}/gzip") == "compressed reply refused"


async def test_get_that_hangs_times_out(server, client):
    assert await _reason(client, f"{server.base}/slow", timeout_seconds=0.05) == "timed out"


async def test_get_without_a_listener_fails(client):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert (await _reason(client, f"http://127.0.0.1:{free.getsockname()[1]}/")).startswith("no reply")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.test/",
        "http://10.0.0.1/",
        "http://localhost.example.test/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1/",
    ],
)
async def test_get_neither_https_nor_loopback_is_refused(client, url):
    assert await _reason(client, url) in ("not https", "not a URL")


async def test_get_http_needs_permission(server, client):
    assert await _reason(client, server.base, allow_http=False) == "not https"


@pytest.mark.parametrize("url", ["https://", "https://[::1", "https://a:b@127.0.0.1/", "https://127.0.0.1:x/", ""])
async def test_get_no_url_is_refused(client, url):
    assert await _reason(client, url) in ("not a URL", "not https")


async def test_get_https_name_that_resolves_to_loopback_is_refused(client):
    assert await _reason(client, "https://localhost:9/", allow_http=False) == "private address refused"


async def test_public_resolver_refuses_when_any_address_is_private():
    class TwoAddresses:
        async def resolve(self, host, port, family):
            return [{"host": "93.184.215.14"}, {"host": "fe80::1%eth0"}]

    resolver = _PublicResolver()
    resolver._inner = TwoAddresses()
    with pytest.raises(OSError, match="private"):
        await resolver.resolve("issuer.test", 443)


async def test_local_resolver_knows_localhost_names_that_the_system_does_not():
    class Nothing:
        async def resolve(self, host, port, family):
            if host == "127.0.0.1":
                return [{"host": host}]
            raise OSError("unknown name")

    resolver = _LocalResolver()
    resolver._inner = Nothing()
    assert await resolver.resolve("issuer.localhost", 80) == [{"host": "127.0.0.1"}]
    with pytest.raises(OSError, match="unknown"):
        await resolver.resolve("issuer.test", 80)


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("169.254.169.254", True),
        ("100.64.0.1", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("2002:7f00:1::", True),
        ("fd00::1", True),
        ("93.184.215.14", False),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", False),
        ("issuer.test", False),
    ],
)
def test_is_private_address_knows_what_is_not_public(host, is_private):
    assert is_private_address(host) is is_private


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "issuer.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_is_loopback_host_accepts_this_machine(host):
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", ["localhost.test", "10.0.0.1", "", "xlocalhost", "0.0.0.0"])
def test_is_loopback_host_refuses_others(host):
    assert not is_loopback_host(host)
