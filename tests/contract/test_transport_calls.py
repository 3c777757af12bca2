"""What a call meets on either transport: statuses, deadlines, sizes, broken frames, callers that leave."""

from __future__ import annotations

import socket

import grpc
import pytest

from chassis.health import CHECK_METHOD
from helpers.echo_service import PACKAGE, SECRET, UNREADY
from helpers.transport_rig import OPTIONS, TRANSPORTS, EchoProcess, RawCall, can_run, frame, until
from protos.health_pb2 import HealthCheckRequest, HealthCheckResponse

LONG = 20.0  # seconds; longer than any deadline of the server
LIMIT = OPTIONS.max_message_bytes


async def call(server: EchoProcess, method: str, message: bytes = b"", **how: object) -> bytes:
    path = method if method.startswith("/") else PACKAGE + method
    async with grpc.aio.insecure_channel(server.address) as channel:
        return await channel.unary_unary(path)(message, **{"timeout": LONG, **how})


async def refusal(server: EchoProcess, method: str, message: bytes = b"", **how: object) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(server, method, message, **how)
    return caught.value.code().name, caught.value.details() or ""


@pytest.mark.parametrize("size", [0, 1, 1000, LIMIT], ids=["empty", "one byte", "usual", "as long as allowed"])
async def test_message_comes_back_unchanged(server: EchoProcess, size: int):
    assert await call(server, "Echo", b"x" * size) == b"x" * size


async def test_message_above_the_cap_is_resource_exhausted_and_the_next_one_served(server: EchoProcess):
    code, _ = await refusal(server, "Echo", b"x" * (LIMIT + 1))
    assert code == "RESOURCE_EXHAUSTED"
    assert (await refusal(server, "Echo", b"x" * (LIMIT * 20)))[0] == "RESOURCE_EXHAUSTED"
    assert await call(server, "Echo", b"next") == b"next"


@pytest.mark.parametrize("number", [3, 5, 8, 13, 14])
async def test_refusal_of_the_service_keeps_its_code_and_text(server: EchoProcess, number: int):
    code, text = await refusal(server, "Refuse", str(number).encode())
    assert grpc.StatusCode[code].value[0] == number
    assert text == "a fixed text, 100 % ours\nä"


@pytest.mark.parametrize("method", ["Crash", "TimeOut"])
async def test_bug_in_a_handler_is_internal_and_its_text_stays_in_the_log(server: EchoProcess, method: str):
    assert await refusal(server, method) == ("INTERNAL", "internal error")
    assert SECRET in server.output()
    assert await call(server, "Echo", b"next") == b"next"


@pytest.mark.parametrize("path", ["Nope", "/echo.v1.Other/Echo", "/grpc.health.v1.Health/Watch"])
async def test_unknown_method_is_unimplemented(server: EchoProcess, path: str):
    assert (await refusal(server, path))[0] == "UNIMPLEMENTED"


async def test_compressed_message_is_unimplemented(server: EchoProcess):
    code, _ = await refusal(server, "Echo", b"zip" * 1000, compression=grpc.Compression.Gzip)
    assert code == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(5.0, 4.0, 5.1), (None, 0.5, 1.0), (600.0, 7.0, 8.0)],
    ids=["the caller's", "the default without one", "cut to the longest allowed"],
)
async def test_handler_learns_its_deadline(server: EchoProcess, asked: float | None, least: float, most: float):
    assert least <= float(await call(server, "Deadline", timeout=asked)) <= most


@pytest.mark.parametrize("headers", [{"grpc-timeout": "200m"}, {}], ids=["the caller's", "the default"])
def test_server_ends_a_call_at_its_deadline(server: EchoProcess, headers: dict[str, str]):
    with RawCall(server.address, "Stubborn", headers) as raw:
        answer = raw.send(frame(b"")).answer()
    assert answer.is_refused
    # C core ends a call that is over with a reset where the adapter still sends the status.
    assert answer.is_reset or answer.status == 4


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_caller_that_leaves_costs_at_most_its_deadline(server: EchoProcess, end: str):
    before = server.count('echo_ended_total{how="cancelled"}')
    raw = RawCall(server.address, "Sleep", {"grpc-timeout": "500m"})
    raw.send(frame(b"100"))
    if end == "reset":
        raw.reset()
    raw.__exit__()
    assert await call(server, "Echo", b"next") == b"next"
    # A call that was dropped before its handler began counts nothing, so one that begins for sure is not lost:
    with RawCall(server.address, "Sleep", {"grpc-timeout": "100m"}) as other:
        other.send(frame(b"100")).answer()
    until(lambda: server.count('echo_ended_total{how="cancelled"}') > before, "the end of the handler")


def test_request_that_never_ends_is_given_up_at_its_deadline(server: EchoProcess):
    with RawCall(server.address, headers={"grpc-timeout": "300m"}) as raw:
        answer = raw.send(frame(b"whole")[:7], is_last=False).answer()
    assert answer.is_refused


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(frame(b"short")[:-1], id="message cut"),
        pytest.param(frame(b"x")[:3], id="prefix cut"),
        pytest.param(frame(b"x", flag=1), id="compressed without a name"),
        pytest.param(b"\0\xff\xff\xff\xff", id="announces 4 GiB"),
        pytest.param(b"{}", id="no frame"),
        pytest.param(b"", id="no message"),
    ],
)
async def test_malformed_request_is_refused_and_the_next_one_served(server: EchoProcess, body: bytes):
    with RawCall(server.address, headers={"grpc-timeout": "400m"}) as raw:
        answer = raw.send(body).answer()
    assert answer.is_refused
    assert not answer.body
    assert await call(server, "Echo", b"next") == b"next"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(frame(b"x") + b"\0\0", id="trailing bytes"),
        pytest.param(frame(b"x") + frame(b"two"), id="two messages"),
        pytest.param(frame(b"x", flag=2), id="unknown flag"),
    ],
)
async def test_request_with_more_than_one_message_is_refused(server: EchoProcess, body: bytes):
    with RawCall(server.address, headers={"grpc-timeout": "400m"}) as raw:
        answer = raw.send(body).answer()
    if server.transport == "grpcio":
        # C core reads the first message and no further, and hands on a frame that it cannot read as an
        # empty message: one message reaches the service, which judges it like any other.
        assert answer.is_refused or answer.body in (frame(b"x"), frame(b""))
    else:
        assert answer.is_refused
    assert await call(server, "Echo", b"next") == b"next"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({":method": "GET"}, id="GET"),
        pytest.param({":path": "/"}, id="no method path"),
    ],
)
def test_request_that_is_no_grpc_gets_no_answer_of_the_service(server: EchoProcess, headers: dict[str, str]):
    with RawCall(server.address, headers=headers) as raw:
        answer = raw.send(frame(b"ping")).answer()
    assert answer.is_refused
    assert b"ping" not in answer.body


def test_connection_of_other_bytes_is_closed_and_the_next_one_served(server: EchoProcess):
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        while plain.recv(4096):
            pass
    with RawCall(server.address) as raw:
        assert raw.send(frame(b"next")).answer().body == frame(b"next")


async def health(server: EchoProcess, name: str) -> int:
    reply = await call(server, CHECK_METHOD, HealthCheckRequest(service=name).SerializeToString())
    return HealthCheckResponse.FromString(reply).status


@pytest.mark.parametrize("name", ["", "echo.v1.Echo"])
async def test_health_of_a_ready_service_is_serving(server: EchoProcess, name: str):
    assert await health(server, name) == HealthCheckResponse.SERVING


async def test_health_of_an_unknown_service_is_not_found(server: EchoProcess):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health(server, "echo.v1.Other")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_request_of_other_bytes_is_invalid(server: EchoProcess):
    assert (await refusal(server, CHECK_METHOD, b"\xff"))[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_health_of_an_unready_service_is_not_serving(transport: str):
    if not can_run(transport):
        pytest.skip("no shared libpython")
    with EchoProcess(transport, environment={UNREADY: "1"}) as process:
        assert await health(process.serving(), "") == HealthCheckResponse.NOT_SERVING
        assert process.page("healthz")[0] == 200
        assert process.page("readyz")[0] == 503
