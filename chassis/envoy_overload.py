"""What the hosting Envoy does when its peers take up too much: connections first, then memory.

Part of `envoy_bootstrap`. Its law: the process outlives whatever its peers open and leave unread. `overload` sheds
calls by what Python can do; this is the bound on what never reaches Python.
Protos: envoy/config/overload/v3/overload.proto.
"""

from __future__ import annotations

from typing import Final

from betterproto2 import Message
from envoy_data_plane.envoy.config.overload.v3 import (
    OverloadAction,
    OverloadManager,
    ResourceMonitor,
    ThresholdTrigger,
    Trigger,
)
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 import DownstreamConnectionsConfig
from envoy_data_plane.envoy.extensions.resource_monitors.fixed_heap.v3 import FixedHeapConfig
from envoy_data_plane.google.protobuf import Any

_HEAP: Final = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"
_ACTIONS: Final = {
    "envoy.overload_actions.shrink_heap": 0.8,
    # The call is refused, and so is the payment that waits for it.
    "envoy.overload_actions.stop_accepting_requests": 0.9,
    "envoy.overload_actions.stop_accepting_connections": 0.95,
}


def overload_manager(max_connections: int, max_heap_bytes: int) -> OverloadManager:
    """Return the bounds on open connections and on the memory that Envoy itself allocates."""
    return OverloadManager(
        resource_monitors=[
            _monitor(_CONNECTIONS, DownstreamConnectionsConfig(max_active_downstream_connections=max_connections)),
            _monitor(_HEAP, FixedHeapConfig(max_heap_size_bytes=max_heap_bytes)),
        ],
        actions=[
            OverloadAction(name=name, triggers=[Trigger(name=_HEAP, threshold=ThresholdTrigger(value=share))])
            for name, share in _ACTIONS.items()
        ],
    )


def _monitor(name: str, config: Message) -> ResourceMonitor:
    return ResourceMonitor(name=name, typed_config=Any.pack(config))
