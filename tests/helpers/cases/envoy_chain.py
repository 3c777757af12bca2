"""A real Envoy with the ext_authz filter in many settings, between a client and an upstream that tells what it got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
from aiohttp import web

from extauthz.servicer import CHECK_METHOD
from helpers.waiting import until
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.stack import envoy_command

LOOPBACK = "127.0.0.1"
_EXTENSIONS = "type.googleapis.com/envoy.extensions"
BODY = {"max_request_bytes": 65_536, "allow_partial_message": True, "pack_as_bytes": True}


@dataclass(frozen=True, slots=True)
class Setting:
    """What one listener's ext_authz filter is set to.

    Attributes:
        ext_authz: Members in the place of the usual ones; None takes one off.
        before: Filters before it.
        timeout: Of the call.
        service: Cluster that is asked: `stub`, or `gate` for the service itself.
        route: Further members of the one route.
    """

    ext_authz: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Mapping[str, Any], ...] = ()
    timeout: str = "2s"
    service: str = "stub"
    route: Mapping[str, Any] = field(default_factory=dict)

    def filters(self) -> list[Mapping[str, Any]]:
        """Return the HTTP filters of the listener."""
        usual = {
            "@type": f"{_EXTENSIONS}.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "with_request_body": BODY,
            "grpc_service": {"envoy_grpc": {"cluster_name": self.service}, "timeout": self.timeout},
            **self.ext_authz,
        }
        config = {name: value for name, value in usual.items() if value is not None}
        router = {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"}
        return [
            *self.before,
            {"name": "envoy.filters.http.ext_authz", "typed_config": config},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client got.

    Attributes:
        headers: Lower-case names, in order; a name may stand twice.
        details: Envoy's response code details.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    details: str

    def values(self, name: str) -> list[str]:
        """Return the values of a header."""
        return [value for key, value in self.headers if key == name]


@dataclass
class EnvoyChain:
    """The running parts.

    Attributes:
        answer: What the stub answers with: bytes of a CheckResponse, after what it awaits or raises.
        checks: CheckRequests that the stub got, as bytes.
        arrived: What the upstream got: method, path, headers.
    """

    folder: Path
    answer: Callable[[grpc.aio.ServicerContext], Awaitable[bytes]] | None = None
    checks: list[bytes] = field(default_factory=list)
    arrived: list[dict[str, Any]] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    async def send(self, setting: str, method: str = "POST", path: str = "/v1/payments", **request: Any) -> Reply:
        """Send one request through the listener of a setting."""
        self.checks.clear()
        self.arrived.clear()
        log = self.folder / f"{setting}.log"
        before = len(_lines(log))
        url = f"http://{LOOPBACK}:{self.ports[setting]}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, **request) as response:
            body = await response.read()
            headers = [(name.lower(), value) for name, value in response.headers.items()]
        await until(lambda: len(_lines(log)) > before)
        return Reply(response.status, headers, body, _lines(log)[-1])

    async def _check(self, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.checks.append(data)
        assert self.answer is not None
        return await self.answer(context)

    async def _upstream(self, request: web.Request) -> web.Response:
        pairs = [(name.lower(), value) for name, value in request.headers.items()]
        self.arrived.append({"method": request.method, "path": request.raw_path, "headers": pairs})
        return web.Response(text="from the upstream")


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def _cluster(name: str, port: int, *, is_grpc: bool) -> dict[str, Any]:
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    cluster: dict[str, Any] = {
        "name": name,
        "connect_timeout": "1s",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if is_grpc:
        options = {
            "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        cluster["typed_extension_protocol_options"] = {
            f"{_EXTENSIONS[20:]}.upstreams.http.v3.HttpProtocolOptions": options
        }
    return cluster


def _listener(name: str, setting: Setting, folder: Path) -> dict[str, Any]:
    log = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
            "path": str(folder / f"{name}.log"),
            "log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE_DETAILS%\n"}},
        },
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}, **setting.route}
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "access_log": [log],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": setting.filters(),
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": LOOPBACK, "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


@asynccontextmanager
async def envoy_chain(
    settings: Mapping[str, Setting], folder: Path, *, gate_port: int = 1, stub_method: str = CHECK_METHOD
) -> AsyncIterator[EnvoyChain]:
    """Run Envoy with a listener for each setting; `gate_port` is where the service itself listens."""
    chain = EnvoyChain(folder)
    package, method = stub_method[1:].split("/")
    stub = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(chain._check)
    stub.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(package, {method: handler}),))
    stub_port = stub.add_insecure_port(f"{LOOPBACK}:0")
    application = web.Application()
    application.router.add_route("*", "/{anything:.*}", chain._upstream)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await stub.start()
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    clusters = [
        _cluster("stub", stub_port, is_grpc=True),
        _cluster("gate", gate_port, is_grpc=True),
        _cluster("upstream", runner.addresses[0][1], is_grpc=False),
    ]
    envoy = await _started(settings, clusters, folder)
    try:
        chain.ports = await _bound_ports(folder)
        yield chain
    finally:
        await envoy.stop()
        await runner.cleanup()
        await stub.stop(None)


async def _started(settings: Mapping[str, Setting], clusters: list[dict[str, Any]], folder: Path) -> Child:
    bootstrap = {
        "admin": {"address": {"socket_address": {"address": LOOPBACK, "port_value": 0}}},
        "static_resources": {
            "listeners": [_listener(name, setting, folder) for name, setting in settings.items()],
            "clusters": clusters,
        },
    }
    configuration = folder / "envoy.json"
    configuration.write_text(json.dumps(bootstrap), "utf-8")
    command = (*envoy_command(configuration), "--admin-address-path", str(folder / "admin"))
    envoy = Child(ChildSpec("envoy", command, folder / "envoy.log"), lambda _: None)
    await envoy.start()
    try:
        await until(lambda: _lines(folder / "admin") or not envoy.is_running, 20)
        assert envoy.is_running, envoy.last_lines()
    except BaseException:
        await envoy.stop()
        raise
    return envoy


async def _bound_ports(folder: Path) -> dict[str, int]:
    admin = f"http://{_lines(folder / 'admin')[0]}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            async with session.get(f"{admin}/listeners?format=json") as response:
                listed = (await response.json(content_type=None)).get("listener_statuses", [])
            if listed:
                return {entry["name"]: entry["local_address"]["socket_address"]["port_value"] for entry in listed}
            await asyncio.sleep(0.02)
