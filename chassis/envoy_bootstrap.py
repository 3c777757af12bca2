"""The configuration of the Envoy that hosts a service: one HTTP/2 listener, one terminal Python filter.

Built with envoy-data-plane's typed messages and written as a binary bootstrap by `envoy_host`. Its law:
nothing waits for ever, nothing grows without bound, nothing is logged about a request. It is not the
Envoy of `envoy/tollhouse.yaml`, which stands in front of the payments.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from betterproto2 import Message
from envoy_data_plane.envoy.config.bootstrap.v3 import Admin, Bootstrap, BootstrapStaticResources
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    AsyncDataSource,
    DataSource,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    KeepaliveSettings,
    Node,
    Pipe,
    SocketAddress,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration, VirtualHost
from envoy_data_plane.envoy.extensions.dynamic_modules.v3 import DynamicModuleConfig
from envoy_data_plane.envoy.extensions.filters.http.dynamic_modules.v3 import DynamicModuleFilter
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpFilter,
)
from envoy_data_plane.google.protobuf import Any, StringValue

from chassis.descriptors import connections_within_limit
from chassis.envoy_admin import LISTENER_NAME, STAT_PREFIX
from chassis.envoy_arrival import arrival_stamp
from chassis.envoy_overload import overload_manager
from chassis.envoy_tls import peer_filters, transport_socket
from chassis.listen import UNIX_SOCKET_MODE, HostOptions, ListenAddress


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one peer may take up.

    Attributes:
        max_connections: Open connections in all; the next ones are closed at once.
        max_heap_bytes: Envoy's own memory; from nine tenths of it on, calls are refused.
        max_concurrent_streams: Calls at a time on one connection.
        stream_window_bytes: Request bytes in flight for one call.
        connection_window_bytes: Request bytes in flight on one connection.
        connection_buffer_bytes: Bytes Envoy buffers for one connection.
        max_headers_kb: Header block of one request.
        grace_seconds: What Envoy grants a call on top of its longest deadline.
        keepalive_seconds: How often an HTTP/2 connection is probed.
        keepalive_timeout_seconds: How long a probe may stay unanswered.
        goaway_seconds: From the announcement of a connection's end to that end.
        handshake_seconds: How long a connection may take to prove who calls; without, callers that never do so would
            keep all others out.
        max_connection_seconds: Age at which a TLS connection is told to end, without a failed call.
    """

    max_connections: int = 4096
    max_heap_bytes: int = 512 * 1024 * 1024
    max_concurrent_streams: int = 1024
    stream_window_bytes: int = 256 * 1024
    connection_window_bytes: int = 4 * 1024 * 1024
    connection_buffer_bytes: int = 1024 * 1024
    max_headers_kb: int = 32
    grace_seconds: float = 5.0
    keepalive_seconds: float = 30.0
    keepalive_timeout_seconds: float = 10.0
    goaway_seconds: float = 0.5
    handshake_seconds: float = 5.0
    max_connection_seconds: float = 900.0


def build_bootstrap(app: str, options: HostOptions, admin_socket: Path, bounds: Bounds | None = None) -> Bootstrap:
    """Return the bootstrap of an Envoy that serves one ASGI application.

    Args:
        app: `module:attribute` of the application.
        options: Where it listens and how long calls may take.
        admin_socket: Unix socket of Envoy's own admin interface; its directory must be private. With TLS, the
            secrets are there too (`envoy_secrets`).
        bounds: What one peer may take up.
    """
    bounds = bounds or Bounds()
    max_connections = connections_within_limit(bounds.max_connections)
    admin = Admin(address=Address(pipe=Pipe(path=str(admin_socket), mode=0o600)))
    return Bootstrap(
        # Secret discovery, from files too, wants to know who asks; nobody reads it.
        node=Node(id=STAT_PREFIX, cluster=STAT_PREFIX),
        admin=admin,
        static_resources=BootstrapStaticResources(listeners=[_listener(app, options, bounds, admin_socket.parent)]),
        overload_manager=overload_manager(max_connections, bounds.max_heap_bytes),
    )


def _listener(app: str, options: HostOptions, bounds: Bounds, runtime_dir: Path) -> Listener:
    manager = Filter(
        name="envoy.filters.network.http_connection_manager",
        typed_config=_packed(_connection_manager(app, options, bounds)),
    )
    return Listener(
        name=LISTENER_NAME,
        address=_address(options.listen),
        filter_chains=[
            FilterChain(
                filters=[manager],
                transport_socket=None if options.tls is None else transport_socket(options.tls, runtime_dir),
                transport_socket_connect_timeout=_seconds(bounds.handshake_seconds),
            )
        ],
        per_connection_buffer_limit_bytes=bounds.connection_buffer_bytes,
        # Two processes on one port would silently share its calls.
        enable_reuse_port=False,
    )


def _connection_manager(app: str, options: HostOptions, bounds: Bounds) -> HttpConnectionManager:
    longest_call = _seconds(max(options.max_timeout_seconds, options.max_stream_seconds) + bounds.grace_seconds)
    return HttpConnectionManager(
        codec_type=HttpConnectionManagerCodecType.HTTP2,
        stat_prefix=STAT_PREFIX,
        route_config=RouteConfiguration(
            name="all", virtual_hosts=[VirtualHost(name="all", domains=["*"])], validate_clusters=False
        ),
        http_filters=[*peer_filters(options.tls), _python_filter(app)],
        early_header_mutation_extensions=[arrival_stamp()],
        generate_request_id=False,
        max_request_headers_kb=bounds.max_headers_kb,
        # The adapter ends every call at its deadline; these catch what never reaches it.
        request_headers_timeout=_seconds(bounds.grace_seconds),
        request_timeout=longest_call,
        stream_idle_timeout=longest_call,
        drain_timeout=_seconds(bounds.goaway_seconds),
        # One bad stream must not end the connection that carries everybody else's calls.
        http2_protocol_options=Http2ProtocolOptions(
            max_concurrent_streams=bounds.max_concurrent_streams,
            initial_stream_window_size=bounds.stream_window_bytes,
            initial_connection_window_size=bounds.connection_window_bytes,
            override_stream_error_on_invalid_http_message=True,
            connection_keepalive=KeepaliveSettings(
                interval=_seconds(bounds.keepalive_seconds), timeout=_seconds(bounds.keepalive_timeout_seconds)
            ),
        ),
        common_http_protocol_options=HttpProtocolOptions(
            max_stream_duration=longest_call,
            # With TLS a connection must not outlive for long the certificates that it was opened with.
            max_connection_duration=None if options.tls is None else _seconds(bounds.max_connection_seconds),
        ),
    )


def _python_filter(app: str) -> HttpFilter:
    # No `loop`: the default, uvloop, shuts down cleanly; "asyncio" panics when Envoy stops.
    settings = {"app": app, "interface": "asgi", "root_path": "", "lifespan": True}
    return HttpFilter(
        name="pyvoy",
        typed_config=_packed(
            DynamicModuleFilter(
                dynamic_module_config=DynamicModuleConfig(
                    module=AsyncDataSource(local=DataSource(filename=_module_path()))
                ),
                filter_name="pyvoy",
                filter_config=_packed(StringValue(value=json.dumps(settings))),
                terminal_filter=True,
            )
        ),
    )


def _module_path() -> str:
    spec = importlib.util.find_spec("pyvoy._pyvoy")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package pyvoy has no native module here")
    return spec.origin


def _address(listen: ListenAddress) -> Address:
    if listen.unix_path is not None:
        return Address(pipe=Pipe(path=listen.unix_path, mode=UNIX_SOCKET_MODE))
    # Envoy binds addresses only, it resolves no names here.
    host = "127.0.0.1" if listen.host == "localhost" else listen.host
    return Address(socket_address=SocketAddress(address=host or "", port_value=listen.port))


def _packed(message: Message) -> Any:
    return Any.pack(message)


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
