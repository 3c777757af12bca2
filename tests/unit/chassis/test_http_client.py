"""The HTTP client against a real server: bounds, and where it refuses to go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from chassis.http_client import (
    FetchFailed,
    FormPost,
    GuardedResolver,
    HttpClient,
    open_socket,
)
from chassis.reach import Reach


class Server:
    """Answers by path on loopback."""

    def __init__(self) -> None:
        self.base = ""
        self.seen: list[dict[str, str]] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.release = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append((request.method, form))
        match request.path:
            case "/moved":
                return web.Response(status=302, headers={"location": "/plain"})
            case "/cookie":
                return web.Response(headers={"set-cookie": "a=b"})
            case "/gzip":
                return web.Response(body=b"x", headers={"content-encoding": "gzip"})
            case "/slow":
                await self.release.wait()
            case "/drip":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b"x")
                await self.release.wait()
                return response
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
    application.router.add_post("/{path:.*}", made.answer)
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
    options = {"max_bytes": 1000, "timeout_seconds": 5, "reach": Reach.LOOPBACK, **overrides}
    with pytest.raises(FetchFailed) as caught:
        await client.get(url, **options)
    return caught.value.reason


async def test_get_returns_status_headers_and_body(server, client):
    reply = await client.get(f"{server.base}/plain", max_bytes=5, timeout_seconds=5, reach=Reach.LOOPBACK)
    assert (reply.status, reply.headers["cache-control"], reply.body) == (200, "max-age=5", b"hello")


async def test_get_never_follows_a_redirect(server, client):
    reply = await client.get(f"{server.base}/moved", max_bytes=1000, timeout_seconds=5, reach=Reach.LOOPBACK)
    assert reply.status == 302
    assert len(server.seen) == 1


async def test_get_keeps_no_cookie_and_asks_for_no_compression(server, client):
    for path in ("/cookie", "/plain"):
        await client.get(server.base + path, max_bytes=1000, timeout_seconds=5, reach=Reach.LOOPBACK)
    assert "cookie" not in server.seen[1]
    assert server.seen[1]["accept-encoding"] == "identity"


async def test_get_beyond_the_cap_fails(server, client):
    assert await _reason(client, f"{server.base}/plain", max_bytes=4) == "reply too long"
    assert await _reason(client, f"{server.base}/chunks") == "reply too long"


async def test_get_compressed_reply_fails(server, client):
    assert await _reason(client, f"{server.base}/gzip") == "compressed reply refused"


@pytest.mark.parametrize("path", ["/slow", "/drip"])
async def test_get_that_hangs_or_drips_times_out(server, client, path):
    assert await _reason(client, server.base + path, timeout_seconds=0.05) == "timed out"


FORM = FormPost({"token": "a b&c=ä"}, {"authorization": "Basic eDp5"})


async def test_post_sends_the_form_and_its_headers_as_they_are(server, client):
    reply = await client.post(
        f"{server.base}/plain", FORM, max_bytes=100, timeout_seconds=5, reach=Reach.PUBLIC | Reach.LOOPBACK
    )
    assert (reply.status, reply.body) == (200, b"hello")
    assert server.forms == [("POST", {"token": "a b&c=ä"})]
    assert server.seen[0]["content-type"] == "application/x-www-form-urlencoded"
    assert server.seen[0]["authorization"] == "Basic eDp5"


async def test_post_follows_no_redirect_so_that_nobody_else_gets_the_form(server, client):
    reply = await client.post(
        f"{server.base}/moved", FORM, max_bytes=100, timeout_seconds=5, reach=Reach.PUBLIC | Reach.LOOPBACK
    )
    assert (reply.status, len(server.seen)) == (302, 1)


@pytest.mark.parametrize("path", ["/chunks", "/gzip", "/slow", "/drip"])
async def test_post_has_the_bounds_of_get(server, client, path):
    reach = Reach.PUBLIC | Reach.LOOPBACK
    with pytest.raises(FetchFailed):
        await client.post(f"{server.base}{path}", FORM, max_bytes=100, timeout_seconds=0.2, reach=reach)


@pytest.mark.parametrize("url", ["http://issuer.example/x", "https://10.0.0.1/x", "https://u:p@issuer.example/x"])
async def test_post_goes_nowhere_that_get_does_not(client, url):
    with pytest.raises(FetchFailed):
        await client.post(url, FORM, max_bytes=100, timeout_seconds=5)


def test_form_shows_nothing_of_itself():
    assert "a b&c" not in repr(FORM)
    assert "eDp5" not in repr(FORM)


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
    assert await _reason(client, server.base, reach=Reach.PUBLIC) == "not https"


@pytest.mark.parametrize(
    "url",
    [
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://127\u30020\u30020\u30021/",
        "https://",
        "https://[::1",
        "https://a:b@127.0.0.1/",
        "https://127.0.0.1:x/",
        "",
    ],
)
async def test_get_no_url_is_refused(client, url):
    assert await _reason(client, url) in ("not a URL", "not https")


async def test_get_https_name_that_resolves_to_loopback_is_refused(client):
    for reach in (Reach.PUBLIC, Reach.PRIVATE):
        assert await _reason(client, "https://localhost:9/", reach=reach) == "address refused"


class Names:
    """Looks names up in a table; unknown ones fail as the system's resolver does."""

    def __init__(self, **table: list[str]) -> None:
        self.table = {name.replace("_", "."): addresses for name, addresses in table.items()}

    async def resolve(self, host, port, family):
        addresses = [host] if host == "127.0.0.1" else self.table.get(host)
        if addresses is None:
            raise OSError("unknown name")
        return [{"host": address} for address in addresses]


@pytest.mark.parametrize(
    ("reach", "is_encrypted", "addresses", "is_reached"),
    [
        (Reach.PUBLIC, True, ["93.184.215.14"], True),
        (Reach.PUBLIC, True, ["93.184.215.14", "10.0.0.1"], False),
        (Reach.PUBLIC, True, ["93.184.215.14", "127.0.0.1"], False),
        (Reach.PRIVATE, True, ["93.184.215.14", "10.0.0.1"], True),
        (Reach.PRIVATE, True, ["127.0.0.1"], False),
        (Reach.PRIVATE, True, ["169.254.169.254"], False),
        (Reach.PRIVATE, True, ["fe80::1%eth0"], False),
        (Reach.LOOPBACK, True, ["127.0.0.1", "::1"], True),
        (Reach.LOOPBACK, True, ["10.0.0.1"], False),
        (Reach.LOOPBACK | Reach.PRIVATE, True, ["127.0.0.1", "fd00::1"], True),
        (Reach.LOOPBACK | Reach.PRIVATE, False, ["127.0.0.1"], True),
        (Reach.LOOPBACK | Reach.PRIVATE, False, ["10.0.0.1"], False),
        (Reach.LOOPBACK | Reach.PRIVATE, False, ["93.184.215.14"], False),
        (Reach.PRIVATE, True, ["no address"], False),
    ],
)
async def test_resolver_refuses_a_name_with_any_address_that_may_not_be_reached(
    reach, is_encrypted, addresses, is_reached
):
    resolver = GuardedResolver(reach, is_encrypted=is_encrypted, inner=Names(issuer_test=addresses))
    if is_reached:
        assert [entry["host"] for entry in await resolver.resolve("issuer.test", 443)] == addresses
        return
    with pytest.raises(OSError, match="address refused"):
        await resolver.resolve("issuer.test", 443)


async def test_resolver_knows_localhost_names_that_the_system_does_not():
    resolver = GuardedResolver(Reach.LOOPBACK, is_encrypted=False, inner=Names())
    assert await resolver.resolve("issuer.localhost", 80) == [{"host": "127.0.0.1"}]
    with pytest.raises(OSError, match="unknown"):
        await resolver.resolve("issuer.test", 80)
    with pytest.raises(OSError, match="unknown"):
        await GuardedResolver(Reach.PRIVATE, is_encrypted=True, inner=Names()).resolve("issuer.localhost", 80)


@pytest.mark.parametrize(
    ("url", "reach"),
    [
        ("https://127.0.0.1:9/", Reach.PUBLIC),
        ("https://[::1]:9/", Reach.PRIVATE),
        ("https://10.0.0.1/", Reach.LOOPBACK),
        ("https://169.254.169.254/latest/meta-data/", Reach.PRIVATE | Reach.LOOPBACK),
        ("https://[::ffff:169.254.169.254]/", Reach.PRIVATE | Reach.LOOPBACK),
        ("https://0.0.0.0:9/", Reach.PRIVATE | Reach.LOOPBACK),
    ],
)
async def test_get_literal_that_may_not_be_reached_is_refused(client, url, reach):
    assert await _reason(client, url, reach=reach) == "address refused"


@pytest.mark.parametrize(
    "host", ["0x7f000001", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "\uff11\uff12\uff17.0.0.1"]
)
@pytest.mark.parametrize("reach", [Reach.PUBLIC, Reach.PRIVATE])
async def test_other_spelling_of_a_refused_address_connects_to_nothing(client, host, reach):
    accepted = asyncio.Event()
    listener = await asyncio.start_server(lambda *_: accepted.set(), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        await _reason(client, f"https://{host}:{port}/", reach=reach)
    assert not accepted.is_set()


@pytest.mark.parametrize("place", [("127.0.0.1", 443), ("169.254.169.254", 443), ("::ffff:127.0.0.1", 443, 0, 0)])
def test_socket_is_checked_by_the_address_it_connects_to(place):
    family = socket.AF_INET6 if len(place) == 4 else socket.AF_INET
    address = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)
    with pytest.raises(OSError, match="address refused"):
        open_socket(Reach.PRIVATE, True, address)
    open_socket(Reach.PUBLIC, True, (socket.AF_INET, *address[1:4], ("93.184.215.14", 443))).close()
