import json
import re
import subprocess
from pathlib import Path

import pytest
from pytest_docker.plugin import Services

from helpers.compose_stack import SERVICES, ComposeStack, docker
from tollhouse.caller import connect, exchange
from tollhouse.scenarios import payment

CARD_NUMBER = "4111111111111111"
_CONNECT = """
import socket, sys
with socket.socket() as probe:
    probe.settimeout(2)
    print("reached" if probe.connect_ex((sys.argv[1], int(sys.argv[2]))) == 0 else "not reached")
"""
_RESOLVE = """
import socket, sys
try:
    print(socket.gethostbyname(sys.argv[1]))
except OSError:
    print("no such name")
"""


@pytest.mark.parametrize("service", SERVICES)
class TestEveryContainer:
    def test_runs_without_root_capabilities_and_new_privileges(self, compose_stack: ComposeStack, service: str) -> None:
        status = compose_stack.execute(service, "cat", "/proc/1/status")
        found = dict(re.findall(r"^(\w+):\s+(.+)$", status, re.MULTILINE))

        assert "0" not in found["Uid"].split()
        assert "0" not in found["Gid"].split()
        assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
        assert found["NoNewPrivs"] == "1"

    def test_is_declared_so(self, compose_stack: ComposeStack, service: str) -> None:
        found = compose_stack.inspect(service)
        host = found["HostConfig"]

        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found["Config"]["User"])
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert not host["Privileged"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0

    def test_can_write_nothing_but_memory(self, compose_stack: ComposeStack, service: str) -> None:
        said = compose_stack.execute(service, "sh", "-c", "touch /etc/x /usr/bin/x /var/tmp/x; true")

        assert said.count("Read-only file system") == 3

    def test_mounts_are_read_only(self, compose_stack: ComposeStack, service: str) -> None:
        mounts = compose_stack.inspect(service)["Mounts"]

        assert [mount["Destination"] for mount in mounts if mount["RW"]] == []
        assert not any("docker.sock" in mount["Source"] for mount in mounts)


def test_only_the_gate_is_published_and_on_loopback_alone(compose_stack: ComposeStack) -> None:
    published = {name: compose_stack.inspect(name)["HostConfig"]["PortBindings"] for name in SERVICES}
    (binding,) = published.pop("envoy")["10000/tcp"]

    assert binding["HostIp"] == "127.0.0.1"
    assert not any(published.values())


def _address(stack: ComposeStack, service: str) -> list[str]:
    networks = stack.inspect(service)["NetworkSettings"]["Networks"]
    return [network["IPAddress"] for network in networks.values()]


@pytest.mark.parametrize(("service", "port"), [("extauthz", 9001), ("ratelimit", 9002), ("valkey", 6379)])
def test_upstream_reaches_neither_services_nor_store(compose_stack: ComposeStack, service: str, port: int) -> None:
    assert compose_stack.execute("upstream", "python3", "-c", _RESOLVE, service).strip() == "no such name"
    for address in _address(compose_stack, service):
        said = compose_stack.execute("upstream", "python3", "-c", _CONNECT, address, str(port))
        assert said.strip() == "not reached"


def test_extauthz_does_not_reach_the_store(compose_stack: ComposeStack) -> None:
    assert compose_stack.execute("extauthz", "python3", "-c", _RESOLVE, "valkey").strip() == "no such name"
    (address,) = _address(compose_stack, "valkey")
    assert compose_stack.execute("extauthz", "python3", "-c", _CONNECT, address, "6379").strip() == "not reached"


def test_those_who_belong_together_reach_each_other(compose_stack: ComposeStack) -> None:
    """The twin of the refusals: the same probe finds what it may find."""
    assert compose_stack.execute("upstream", "python3", "-c", _CONNECT, "envoy", "10000").strip() == "reached"
    assert compose_stack.execute("ratelimit", "python3", "-c", _CONNECT, "valkey", "6379").strip() == "reached"


def test_store_refuses_whoever_has_no_password(compose_stack: ComposeStack) -> None:
    assert "NOAUTH" in compose_stack.execute("valkey", "valkey-cli", "dbsize", is_checked=False)


@pytest.fixture(scope="session")
def secret_texts(secrets: Path) -> list[str]:
    """Every long word of the private files."""
    private = [path for path in secrets.iterdir() if path.suffix in (".key", ".keys", ".password")]
    words = [word for path in private for word in path.read_text("utf-8").split()]
    return [word for word in words if len(word) > 30]


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_shows_in_inspect_or_in_the_process_list(
    compose_stack: ComposeStack, secret_texts: list[str], service: str
) -> None:
    shown = json.dumps(compose_stack.inspect(service)) + docker("top", compose_stack.container(service))

    assert len(secret_texts) > 10
    assert [text for text in secret_texts if text in shown] == []


def test_no_log_holds_a_token_or_a_card_number(compose_stack: ComposeStack, secret_texts: list[str]) -> None:
    token = compose_stack.fetch_token("m_active", None)
    call = payment("m_active", card={"country": "DE", "number": CARD_NUMBER})
    connection = connect(compose_stack.gate_address)
    answers = [exchange(connection, call, token), exchange(connection, call, token[:-4])]
    connection.close()
    logs = "".join(docker("logs", compose_stack.container(service)) for service in SERVICES)

    assert [answer.status for answer in answers] == [200, 401]
    assert answers[0].log_key[1] in logs
    assert CARD_NUMBER not in logs
    assert [part for part in token.split(".")[1:] if part in logs] == []
    assert [text for text in secret_texts if text in logs] == []


@pytest.fixture
def file_that_compose_reads(docker_services: Services, docker_compose_command: str, docker_compose_file: str) -> str:
    run = subprocess.run(
        [*docker_compose_command.split(), "-f", docker_compose_file, "config"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_compose_accepts_the_file(file_that_compose_reads: str) -> None:
    assert "read_only: true" in file_that_compose_reads
