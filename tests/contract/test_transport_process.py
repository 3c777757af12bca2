"""How a service starts, drains and ends on either transport, and what survives whom."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from chassis.health import CHECK_METHOD
from chassis.listen import ListenAddress
from helpers.echo_service import CRASH, PACKAGE, REFUSE, SECRET
from helpers.transport_rig import OPTIONS, TRANSPORTS, EchoProcess, can_run, exposed, is_alive, readyz, until
from protos.health_pb2 import HealthCheckResponse

needs_envoy = pytest.mark.skipif(not can_run("envoy"), reason="no shared libpython")


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    return request.param


def unary(channel: grpc.aio.Channel, method: str) -> grpc.aio.UnaryUnaryMultiCallable:
    return channel.unary_unary(PACKAGE + method)


async def gone(server: EchoProcess) -> int:
    return await asyncio.to_thread(server.exit_code)


def test_refused_start_ends_with_code_1_and_the_problems(transport: str):
    with EchoProcess(transport, environment={REFUSE: "1"}) as server:
        assert server.exit_code() == 1
        assert server.output() == "policies/x.yaml:1:2: P001 first problem\nsecond problem\n"


def test_start_that_fails_ends_with_code_1_and_says_where_to_look(transport: str):
    with EchoProcess(transport, environment={CRASH: "1"}) as server:
        assert server.exit_code() == 1
        assert server.output().endswith("the service failed to start; the log says why\n")


@needs_envoy
def test_embedded_service_trusts_the_authorities_that_the_operator_named():
    with EchoProcess("envoy", environment={"SSL_CERT_FILE": "/etc/own.pem"}) as server:
        server.serving()
        environment = Path(f"/proc/{server.child()}/environ").read_bytes().split(b"\0")
    assert b"SSL_CERT_FILE=/etc/own.pem" in environment


@pytest.mark.parametrize("which", ["listen", "admin"])
def test_taken_port_ends_with_code_1(transport: str, which: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ListenAddress.parse(f"127.0.0.1:{taken.getsockname()[1]}")
        with EchoProcess(transport, replace(OPTIONS, **{which: address})) as server:
            assert server.exit_code() == 1
            assert " serving on " not in server.output()


async def test_stream_that_never_sends_gets_its_status_and_leaves_no_trace_in_the_log(transport: str):
    with EchoProcess(transport) as server:
        server.serving()
        async with grpc.aio.insecure_channel(server.address) as channel:
            silent = channel.stream_unary(PACKAGE + "Echo")(timeout=20)
            assert await unary(channel, "Echo")(b"meanwhile", timeout=5) == b"meanwhile"
            if transport == "envoy":  # the other transport leaves a stream without a message to its caller
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await silent
                assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            silent.cancel()
        server.terminate()
        assert await gone(server) == 0
        assert "Traceback" not in server.output()


async def test_unix_socket_serves_and_is_removed(transport: str, tmp_path: Path):
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    options = replace(OPTIONS, listen=ListenAddress.parse(f"unix:{path}"))
    with EchoProcess(transport, options) as server:
        server.serving()
        assert server.address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            assert await unary(channel, "Echo")(b"hi", timeout=5) == b"hi"
        server.terminate()
        assert await gone(server) == 0
    assert not path.exists()


async def test_unix_socket_of_a_living_server_is_left_alone(transport: str, tmp_path: Path):
    path = tmp_path / "echo.sock"
    options = replace(OPTIONS, listen=ListenAddress.parse(f"unix:{path}"))
    with EchoProcess(transport, options) as first:
        first.serving()
        for environment in ({}, {REFUSE: "1"}):
            with EchoProcess(transport, options, environment) as second:
                assert second.exit_code() == 1
                assert " serving on " not in second.output()
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            assert await unary(channel, "Echo")(b"hi", timeout=5) == b"hi"


def test_admin_socket_of_a_living_server_is_left_alone(transport: str, tmp_path: Path):
    path = tmp_path / "výkaz.sock"  # whatever the locale, file names are UTF-8
    options = replace(OPTIONS, admin=ListenAddress.parse(f"unix:{path}"))
    with EchoProcess(transport, options) as first:
        first.serving()
        with EchoProcess(transport, options) as second:
            assert second.exit_code() == 1
            assert "another process listens there" in second.output()
        assert path.exists()
    assert not path.exists()


def test_ready_service_says_so_on_its_pages(transport: str):
    with EchoProcess(transport) as server:
        server.serving()
        assert server.page("healthz") == (200, "ok\n")
        assert readyz(server) == (200, {"ready": True, "waiting_for": [], "warnings": ["a warning"]})
        assert "0123456789abcdef" in server.page("policy")[1]
        assert 'href="/metrics"' in server.page("")[1]
        assert server.count("tollhouse_insecure_listen") == 0


def test_insecure_listen_is_shown(transport: str):
    with EchoProcess(transport, exposed()) as server:
        server.serving()
        assert server.count("tollhouse_insecure_listen") == 1
        assert "insecure listen" in readyz(server)[1]["warnings"][-1]


async def test_drain_answers_the_call_in_flight_and_shows_not_serving_meanwhile(transport: str):
    with EchoProcess(transport, replace(OPTIONS, lame_duck_seconds=1.0)) as server:
        server.serving()
        async with grpc.aio.insecure_channel(server.address) as channel:
            slow = asyncio.ensure_future(unary(channel, "Sleep")(b"2", timeout=7))
            await unary(channel, "Echo")(b"the slow call was sent before", timeout=5)
            server.terminate()
            status = await asyncio.to_thread(until, lambda: readyz(server)[0] == 503 and readyz(server), "not ready")
            assert status[1]["waiting_for"] == ["drain: the process is stopping"]
            assert await unary(channel, "Echo")(b"still answered", timeout=5) == b"still answered"
            assert await slow == b"slept"
        assert await gone(server) == 0


async def flow(channels: Callable[[], grpc.aio.Channel], leaving: EchoProcess) -> list[str]:
    """Keep 16 calls in flight while one server drains and ends; return the failures."""
    is_over = asyncio.Event()
    failures: list[str] = []
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while not is_over.is_set():
            try:
                await unary(channels(), "Sleep")(b"0.01", timeout=5)
                answered += 1
            except grpc.aio.AioRpcError as error:
                failures.append(f"{error.code()} {error.details()}")

    callers = [asyncio.create_task(caller()) for _ in range(16)]
    await asyncio.to_thread(until, lambda: answered > 200, "calls")
    leaving.terminate()
    assert await gone(leaving) == 0
    after = answered + 200
    await asyncio.to_thread(until, lambda: answered > after, "calls on the other server")
    is_over.set()
    await asyncio.gather(*callers)
    return failures


async def test_drain_fails_no_call_of_callers_that_ask_the_health_check(transport: str):
    with EchoProcess(transport) as leaving, EchoProcess(transport) as staying:
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(server.serving().address))
                for server in (leaving, staying)
            ]
            healthy = dict.fromkeys(channels, True)

            async def ask(channel: grpc.aio.Channel) -> None:
                while healthy[channel]:
                    reply = await channel.unary_unary(CHECK_METHOD)(b"", timeout=5)
                    healthy[channel] = HealthCheckResponse.FromString(reply).status == HealthCheckResponse.SERVING
                    await asyncio.sleep(0.05)

            checks = [asyncio.create_task(ask(channel)) for channel in channels]
            turns = itertools.count()

            def choose() -> grpc.aio.Channel:
                usable = [channel for channel in channels if healthy[channel]]
                return usable[next(turns) % len(usable)]

            assert await flow(choose, leaving) == []
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)


@needs_envoy
async def test_drain_fails_no_call_of_callers_that_only_follow_goaway():
    with EchoProcess("envoy") as leaving, EchoProcess("envoy") as staying:
        target = f"ipv4:{leaving.serving().address},{staying.serving().address}"
        options = [("grpc.lb_policy_name", "round_robin"), ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            assert await flow(lambda: channel, leaving) == []


async def test_second_signal_ends_the_drain_at_once(transport: str):
    with EchoProcess(transport, replace(OPTIONS, drain_seconds=300.0, max_timeout_seconds=300.0)) as server:
        server.serving()
        async with grpc.aio.insecure_channel(server.address) as channel:
            stuck = asyncio.ensure_future(unary(channel, "Stubborn")(b"", timeout=200))
            await unary(channel, "Echo")(b"the stuck call was sent before", timeout=5)
            server.terminate()
            await asyncio.to_thread(until, lambda: readyz(server)[0] == 503, "the drain")
            server.terminate()
            assert await gone(server) == 0
            with pytest.raises(grpc.aio.AioRpcError):
                await stuck


@needs_envoy
def test_supervisor_killed_takes_envoy_along():
    with EchoProcess("envoy") as server:
        server.serving()
        child, address = server.child(), server.address
        runtime_dir = Path(_environment(child)["TOLLHOUSE_HOST_RUNTIME_DIR"])
        assert runtime_dir.exists()
        server.process.kill()
        until(lambda: not is_alive(child), "the end of Envoy")
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)
        assert not runtime_dir.exists()


@needs_envoy
def test_what_is_left_after_all_was_killed_at_once_goes_with_the_next_start():
    with EchoProcess("envoy") as server:
        child = server.serving().child()
        left = Path(_environment(child)["TOLLHOUSE_HOST_RUNTIME_DIR"])
        for pid in (child, server.process.pid):
            os.kill(pid, signal.SIGSTOP)  # so that neither tidies up after the other
        for pid in (server.process.pid, child):
            os.kill(pid, signal.SIGKILL)
        server.exit_code()
        until(lambda: not is_alive(child), "the end of Envoy")
        assert left.exists()
    with EchoProcess("envoy") as server:
        server.serving()
        assert not left.exists()


@needs_envoy
def test_envoy_killed_ends_the_supervisor_with_code_1():
    with EchoProcess("envoy") as server:
        os.kill(server.serving().child(), signal.SIGKILL)
        assert server.exit_code() == 1
        assert server.output().endswith("echo: Envoy ended by itself (signal SIGKILL)\n")


@needs_envoy
def test_envoy_is_out_of_reach_of_the_terminal_and_shows_no_environment():
    with EchoProcess("envoy", environment={"ECHO_PASSWORD": SECRET}) as server:
        child = server.serving().child()
        assert os.getsid(child) != os.getsid(server.process.pid)
        assert _environment(child)["ECHO_PASSWORD"] == SECRET
        assert SECRET.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()


def _environment(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(line.decode().partition("=")[::2] for line in lines if line)
