"""The nodes of a cluster: where they are by its own word, and a connection to each."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chassis.store_places import connected, read_nodes, spelled
from chassis.store_url import StoreLogin, connection_factory, connection_options

CLUSTER_SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
SLOTS: Final = 16384
_PORT: Final = 6379

Node = tuple[str, int]
"""Host and port."""


def is_cluster(url: str) -> bool:
    """Tell whether a store URL names a cluster."""
    return url.partition("://")[0] in CLUSTER_SCHEMES


class ClusterNodes:
    """Finds a cluster's nodes.

    Args:
        url: See `StoreCluster`.
        connect_timeout_seconds: For one connection.
        login: Password from a file.

    Raises:
        ValueError: With a fixed text that repeats nothing of the URL.
    """

    def __init__(self, url: str, connect_timeout_seconds: float, login: StoreLogin | None = None) -> None:
        try:
            parts = urlsplit(url)
            self._user, _, hosts = parts.netloc.rpartition("@")
            self._first = read_nodes(hosts, _PORT)
        except ValueError:
            raise ValueError("store URL: not a list of host:port; reserved characters are percent-encoded") from None
        if parts.path.strip("/") or parts.fragment:
            raise ValueError("store URL: a cluster has no numbered databases")
        self._scheme, self._query = CLUSTER_SCHEMES[parts.scheme], parts.query
        self._timeout, self._login = connect_timeout_seconds, login
        connection_factory(
            self.url_of(self._first[0]), connect_timeout_seconds, login
        )  # refuses now what it would later
        self._options = connection_options(urlunsplit((self._scheme, "cluster", "", parts.query, "")))

    def url_of(self, node: Node) -> str:
        """Return the URL of one node, with the cluster's login and options."""
        place = f"{spelled(node[0])}:{node[1]}"
        return urlunsplit((self._scheme, f"{self._user}@{place}" if self._user else place, "", self._query, ""))

    async def connect(self, node: Node) -> Any:
        """Return a connection to one node; the caller closes it."""
        return await connected(connection_factory(self.url_of(node), self._timeout, self._login)())

    async def read_map(self) -> dict[int, Node]:
        """Return the primary of each slot; raises RedisError when no node tells, or a slot has none."""
        nodes = [ClusterNode(host, port) for host, port in self._first]
        client = RedisCluster(
            startup_nodes=nodes,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=self._timeout / (len(nodes) + 1),
            socket_timeout=self._timeout / (len(nodes) + 1),
            protocol=2,
            **self._options,
            **self._credentials(),
        )
        manager = client.nodes_manager
        try:
            await manager.initialize()
            return {slot: _node(holders[0]) for slot, holders in manager.slots_cache.items()}
        finally:
            await manager.aclose("startup_nodes")
            await manager.aclose()

    def _credentials(self) -> dict[str, Any]:
        if self._login is not None and self._login.password_file:
            return {"credential_provider": self._login.provider()}
        parts = urlsplit(self.url_of(self._first[0]))
        return {"username": parts.username or None, "password": parts.password}


def _node(node: Any) -> Node:
    return (str(node.host), int(node.port))
