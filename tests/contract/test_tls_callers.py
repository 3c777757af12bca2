"""Who may call a TLS listener, on either transport: one caller is let in, and each way to be another is refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace

import grpc
import pytest

from chassis.health import CHECK_METHOD
from helpers.certificates import DNS, EXPIRED, URI, Caller, ServerFiles, authority, client_pair, server_pair
from helpers.echo_service import PACKAGE
from helpers.transport_rig import TRANSPORTS, EchoProcess, RawCall, can_run, frame, readyz
from protos.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tollhouse.development_authority import Authority, KeyPair, Usage

ECHO, LOGGED, STREAM = PACKAGE + "Echo", PACKAGE + "Deadline", PACKAGE + "Collect"
LOGGER = "spiffe://tollhouse.example/logger"
OTHER_URI = "spiffe://tollhouse.example/other"


@dataclass(frozen=True)
class Rig:
    server: EchoProcess
    ours: Authority

    def caller(self, pair: KeyPair | None) -> Caller:
        return Caller(self.ours.certificate, pair)

    def echoed(self) -> float:
        return self.server.count("echo_echoed_total")


@pytest.fixture(scope="module", params=TRANSPORTS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    ours = authority()
    files = ServerFiles(tmp_path_factory.mktemp("tls"))
    files.put(server_pair(ours), ours.certificate)
    apart = ((LOGGED, (LOGGER,)), (STREAM, (LOGGER,)))
    options = replace(files.options(URI, DNS, method_sans=apart), max_stream_seconds=5.0)
    with EchoProcess(request.param, options) as process:
        yield Rig(process.serving(), ours)


@pytest.mark.parametrize(
    "names", [(URI,), (DNS,), (OTHER_URI, "other.example", URI)], ids=["URI", "DNS", "one of three"]
)
async def test_caller_with_a_listed_name_is_served(rig: Rig, names: tuple[str, ...]):
    caller = rig.caller(client_pair(rig.ours, *names))
    before = rig.echoed()

    assert await caller.echo(rig.server.address) == b"ping"
    health = await caller.call(rig.server.address, CHECK_METHOD, HealthCheckRequest().SerializeToString())

    assert HealthCheckResponse.FromString(health).status == HealthCheckResponse.SERVING
    assert rig.echoed() == before + 1


@pytest.mark.parametrize(("name", "own", "other"), [(URI, ECHO, LOGGED), (LOGGER, LOGGED, ECHO)], ids=["check", "log"])
async def test_caller_of_one_method_may_not_call_another(rig: Rig, name: str, own: str, other: str):
    caller = rig.caller(client_pair(rig.ours, name))
    assert await caller.call(rig.server.address, own, b"ping")
    assert await caller.call(rig.server.address, CHECK_METHOD, b"")
    before = rig.echoed()

    for path in (other, other + "?x=1", spelt_otherwise(other), spelt_otherwise(CHECK_METHOD), "/" + other):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.call(rig.server.address, path, b"ping")
        assert caught.value.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED)

    assert rig.echoed() == before


async def test_stream_is_for_the_caller_that_it_was_given_to(rig: Rig):
    async def collected(name: str) -> bytes:
        async with rig.caller(client_pair(rig.ours, name)).channel(rig.server.address) as channel:
            return await channel.stream_unary(STREAM)(iter([b"a", b"b"]), timeout=10.0)

    before = rig.server.count("echo_collected_total")
    assert await collected(LOGGER) == b"a,b"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collected(URI)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert rig.server.count("echo_collected_total") == before + 2


def spelt_otherwise(path: str) -> str:
    """Return a path that a reader who decodes it takes for `path`."""
    return f"{path[:-1]}%{ord(path[-1]):02x}"


def strangers(ours: Authority) -> dict[str, KeyPair | None]:
    return {
        "no certificate": None,
        "another authority": client_pair(authority("another"), URI),
        "another authority of the same name": client_pair(authority(), URI),
        "another name": client_pair(ours, OTHER_URI),
        "no name": client_pair(ours, "127.0.0.1"),
        "a longer name": client_pair(ours, URI + "/x"),
        "a name that ends alike": client_pair(ours, "x" + DNS),
        "a DNS name that a NUL character ends": client_pair(ours, DNS + "\0.other.example"),
        "a URI that a NUL character ends": client_pair(ours, URI + "\0/other"),
        "a wildcard over the name": client_pair(ours, "*.tollhouse.example"),
        "the URI's text as a DNS name": client_pair(ours, URI.removeprefix("spiffe://")),
        "the DNS name as a URI": client_pair(ours, "spiffe://" + DNS),
        "expired": client_pair(ours, URI, validity=EXPIRED),
        "a server's certificate": client_pair(ours, URI, usage=Usage.SERVER),
    }


@pytest.mark.parametrize("path", [ECHO, CHECK_METHOD], ids=["call", "health"])
@pytest.mark.parametrize("who", list(strangers(authority())))
async def test_stranger_is_refused_before_any_handler(rig: Rig, who: str, path: str):
    caller = rig.caller(strangers(rig.ours)[who])
    before = rig.echoed()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.call(rig.server.address, path, b"")

    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED)
    assert rig.echoed() == before


async def test_caller_believes_no_other_server(rig: Rig):
    caller = Caller(authority("another").certificate, client_pair(rig.ours))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.echo(rig.server.address)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_plain_text_is_refused(rig: Rig):
    before = rig.echoed()
    try:
        with RawCall(rig.server.address) as raw:
            assert raw.send(frame(b"ping")).answer().is_refused
    except OSError:
        pass  # cut off even earlier
    assert rig.echoed() == before


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_is_1_2_or_later_and_carries_http_2(rig: Rig, tmp_path, version: ssl.TLSVersion, is_spoken: bool):
    files = ServerFiles(tmp_path)
    files.put(client_pair(rig.ours))
    context = ssl.create_default_context(cadata=rig.ours.certificate.decode())
    context.load_cert_chain(tmp_path / "tls.pem", tmp_path / "tls.key")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    host, _, port = rig.server.address.rpartition(":")

    with socket.create_connection((host, int(port)), timeout=10) as plain:
        if not is_spoken:
            with pytest.raises((ssl.SSLError, OSError)):
                context.wrap_socket(plain, server_hostname="localhost")
            return
        with context.wrap_socket(plain, server_hostname="localhost") as spoken:
            assert spoken.selected_alpn_protocol() == "h2"


async def test_many_new_connections_at_once_are_served(rig: Rig):
    caller = rig.caller(client_pair(rig.ours))
    replies = await asyncio.gather(*(caller.echo(rig.server.address) for _ in range(20)))
    assert replies == [b"ping"] * 20


def test_expiry_is_a_metric_and_no_warning_yet(rig: Rig):
    assert 29 * 86400 < rig.server.count("tollhouse_tls_certificate_expiry_seconds") < 30 * 86400
    assert not [text for text in readyz(rig.server)[1]["warnings"] if "TLS" in text]


def test_key_is_never_shown(rig: Rig):
    assert "PRIVATE" not in rig.server.output()
