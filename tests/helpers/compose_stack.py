"""The compose stack as the sample payments need it: the twin of `tollhouse.up.stack` for containers."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from tollhouse.compose_files import ISSUER_URL
from tollhouse.probe import LOOPBACK, wait_until
from tollhouse.token import TokenRefused
from tollhouse.up.failure import UpFailed

SERVICES: Final = ("envoy", "extauthz", "ratelimit", "valkey", "issuer", "upstream")
ENVOY_PORT: Final = 10000
_CONTAINERS: Final = {"store": "valkey"}
_READY_WITHIN_SECONDS: Final = 60.0
_COMMAND_WITHIN_SECONDS: Final = 60.0
_FETCH_TOKEN: Final = """
import sys, tollhouse.token
print(tollhouse.token.fetch_token(sys.argv[1], merchant=sys.argv[2], scope=sys.argv[3] or None))
"""
_FETCH_STATS: Final = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9011/_stats", timeout=5).read().decode())
"""
# Envoy's image has bash, and neither Python nor an HTTP client.
_CLUSTERS: Final = r"""
exec 3<>/dev/tcp/127.0.0.1/9901
printf 'GET /clusters HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n' >&3
cat <&3
"""


def docker(*words: str, is_checked: bool = True) -> str:
    """Run the docker client and return what it printed, both streams."""
    run = subprocess.run(
        ("docker", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
        timeout=_COMMAND_WITHIN_SECONDS,
    )
    if is_checked and run.returncode != 0:
        raise UpFailed(f"docker {words[0]} ended with exit code {run.returncode}: {run.stdout[-2000:]}")
    return run.stdout


class ComposeStack:
    """Containers of one compose project.

    Args:
        project: Name of the project.
        port: Where Envoy is published on loopback.
    """

    def __init__(self, project: str, port: int) -> None:
        self.project = project
        self._port = port
        self.container = cache(self._find)

    @property
    def gate_address(self) -> tuple[str, int]:
        return LOOPBACK, self._port

    @property
    def flood_command(self) -> tuple[str, ...]:
        """From the upstream's container, whose address is another than the one that the host's calls come from."""
        python = ("python3", "-m", "tollhouse.flood")
        return ("docker", "exec", "-i", self.container("upstream"), *python, "envoy", str(ENVOY_PORT))

    def fetch_token(self, oauth_client: str, scope: str | None) -> str:
        """Asked for inside the issuer's container: its port is not published."""
        try:
            said = self.execute("issuer", "python3", "-c", _FETCH_TOKEN, ISSUER_URL, oauth_client, scope or "")
        except UpFailed as error:
            raise TokenRefused(str(error)) from error
        return said.split()[-1]

    def upstream_stats(self) -> Mapping[str, Any]:
        return dict(json.loads(self.execute("upstream", "python3", "-c", _FETCH_STATS)))

    def read_access_log(self) -> str:
        lines = docker("logs", self.container("envoy")).splitlines()
        return "\n".join(line for line in lines if line.startswith("{"))

    async def take_away(self, name: str) -> None:
        await asyncio.to_thread(docker, "kill", self.container(_CONTAINERS.get(name, name)))

    async def bring_back(self, name: str) -> None:
        await asyncio.to_thread(docker, "start", self.container(_CONTAINERS.get(name, name)))
        await self.wait_ready()

    async def wait_ready(self) -> None:
        """Wait until every container is healthy and Envoy finds both services so."""
        if await wait_until(self._is_ready, _READY_WITHIN_SECONDS):
            return
        logs = {name: docker("logs", "--tail", "10", self.container(name)) for name in SERVICES}
        raise UpFailed(f"the stack is not ready: {self._health()}; {logs}")

    def execute(self, service: str, *command: str, is_checked: bool = True) -> str:
        """Run a command inside a container and return what it printed."""
        return docker("exec", self.container(service), *command, is_checked=is_checked)

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what `docker inspect` tells about a container."""
        return dict(json.loads(docker("inspect", self.container(service)))[0])

    def _is_ready(self) -> bool:
        if set(self._health().values()) != {"healthy"}:
            return False
        clusters = self.execute("envoy", "bash", "-c", _CLUSTERS, is_checked=False)
        hosts = re.findall(r"^(extauthz|ratelimit)::\S+::health_flags::healthy\s*$", clusters, re.MULTILINE)
        return sorted(hosts) == ["extauthz", "ratelimit"]

    def _health(self) -> dict[str, str]:
        words = ("inspect", "--format", "{{.State.Health.Status}}", *map(self.container, SERVICES))
        return dict(zip(SERVICES, docker(*words).split(), strict=True))

    def _find(self, service: str) -> str:
        label = "label=com.docker.compose"
        found = docker(
            "ps", "-aq", "--filter", f"{label}.project={self.project}", "--filter", f"{label}.service={service}"
        )
        (container,) = found.split()
        return container
