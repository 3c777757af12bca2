"""Admin pages with a token: nothing but the two probes answers without it, whatever is wrong with its file."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from chassis.admin_access import AdminToken
from chassis.host import ServiceHost
from chassis.listen import HostOptions, ListenAddress
from chassis.secret_file import SecretInvalid
from chassis.service import StartRefused
from chassis.tls import TlsOptions
from chassis.tls_files import read_files
from helpers.certificates import ServerFiles, authority, server_pair
from helpers.echo_service import EchoService
from tollhouse.development_authority import Authority

TOKEN = "t0ken-of-the-operators_0123456789abcdef"
PAGES = ("/", "/metrics", "/policy", "/nowhere")
PROBES = ("/healthz", "/readyz")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "admin.token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
async def base(token_file: Path) -> AsyncIterator[str]:
    """The address of a running host's admin pages."""
    local = ListenAddress.parse("127.0.0.1:0")
    host = ServiceHost(EchoService({}), HostOptions(local, local, admin_token_file=str(token_file)))
    await host.start()
    try:
        assert host.admin_url is not None
        yield host.admin_url.rstrip("/")
    finally:
        await host.stop()


async def status(url: str, authorization: str | None = None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status


def replace(path: Path, content: str | None) -> None:
    path.unlink()
    if content is not None:
        path.write_text(content)


@pytest.mark.parametrize("page", PAGES)
async def test_page_opens_for_the_token_alone(base: str, page: str):
    expected = 404 if page == "/nowhere" else 200
    assert await status(base + page) == 401
    assert await status(base + page, f"Bearer {TOKEN}") == expected
    assert await status(base + page, f"bearer {TOKEN}") == expected


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer ",
        f"Bearer  {TOKEN}",
        "Bearer é",
    ],
)
async def test_anything_but_the_token_is_401(base: str, authorization: str):
    assert await status(f"{base}/metrics", authorization) == 401


@pytest.mark.parametrize("page", PROBES)
async def test_probes_need_no_token(base: str, page: str):
    assert await status(base + page) == 200


async def test_new_token_counts_at_once_and_a_broken_file_lets_nobody_in(base: str, token_file: Path):
    new = TOKEN[::-1]
    replace(token_file, new)
    assert await status(f"{base}/policy", f"Bearer {TOKEN}") == 401
    assert await status(f"{base}/policy", f"Bearer {new}") == 200
    replace(token_file, "")
    assert await status(f"{base}/policy", f"Bearer {new}") == 401
    assert await status(f"{base}/policy", "Bearer ") == 401
    replace(token_file, None)
    assert await status(f"{base}/policy", f"Bearer {new}") == 401
    assert await status(f"{base}/healthz") == 200


@pytest.mark.parametrize("content", ["short", "x" * 31, f"{TOKEN}\n{TOKEN}\n", f"{TOKEN} {TOKEN}", f"{TOKEN}é", "\n"])
def test_file_without_a_long_token_keeps_the_service_from_starting(token_file: Path, content: str):
    token_file.write_text(content, "utf-8")
    local = ListenAddress.parse("127.0.0.1:0")
    with pytest.raises(StartRefused) as refused:
        ServiceHost(EchoService({}), HostOptions(local, local, admin_token_file=str(token_file)))
    assert content.strip() == "" or content.strip() not in str(refused.value)
    with pytest.raises(SecretInvalid):
        AdminToken(str(token_file)).read()


def test_file_that_lets_nobody_in_is_warned_of(token_file: Path):
    replace(token_file, "short")
    (warning,) = AdminToken(str(token_file)).warnings()
    assert warning.startswith(f"nobody is let in to the other admin pages: {token_file}: must hold one token")


def test_file_that_everybody_may_read_is_warned_of(token_file: Path):
    assert AdminToken(str(token_file)).warnings() == ()
    token_file.chmod(0o604)
    assert "every user" in AdminToken(str(token_file)).warnings()[0]


@pytest.mark.parametrize("has_tls", [True, False])
async def test_pages_off_loopback_use_the_services_certificate_and_follow_it(tmp_path: Path, token_file: Path, has_tls):
    first, second = authority("first"), authority("second")
    files = ServerFiles(tmp_path)
    files.put(server_pair(first))
    tls = TlsOptions(str(tmp_path / "tls.pem"), str(tmp_path / "tls.key")) if has_tls else None
    anywhere = ListenAddress.parse("0.0.0.0:0")
    local = ListenAddress.parse("127.0.0.1:0")
    host = ServiceHost(EchoService({}), HostOptions(local, anywhere, tls=tls, admin_token_file=str(token_file)))
    await host.start()
    try:
        assert host.admin_url is not None
        page = host.admin_url.replace("0.0.0.0", "127.0.0.1") + "readyz"
        async with aiohttp.ClientSession() as session, session.get(page, ssl=trusting(first)) as response:
            body = await response.text()
        assert ("in clear" in body) is not has_tls
        assert page.startswith("https:") is has_tls
        if has_tls:
            files.put(server_pair(second))
            assert host.tls is not None
            for _ in range(2):  # what is found twice has settled
                host.tls.offer(read_files(tls))
            async with aiohttp.ClientSession() as session, session.get(page, ssl=trusting(second)) as response:
                assert response.status == 200
    finally:
        await host.stop()


def trusting(signer: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=signer.certificate.decode())
