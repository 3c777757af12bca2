import datetime as dt
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_docker.plugin import Services

from helpers.compose_stack import ENVOY_PORT, ComposeStack
from tollhouse.dev_secrets import Readers, write_dev_secrets

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "compose" / "compose.yaml"
NOBODY = 65532


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.compose)


def _succeeds(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skip where no engine answers, unless CI should have started one."""
    if _succeeds("docker", "version"):
        return
    if _succeeds(ROOT / ".ci" / "engine", "wanted"):
        pytest.fail("no Docker engine answers although this machine is CI: run .ci/engine run .ci/compose")
    pytest.skip("no Docker engine answers here")


@pytest.fixture(scope="session")
def docker_compose_command(engine: None) -> str:
    if _succeeds("docker", "compose", "version"):
        return "docker compose"
    if shutil.which("docker-compose"):
        return "docker-compose"
    pytest.fail("an engine answers, but neither docker compose nor docker-compose is installed")


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return str(FILE)


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return f"tollhouse-test-{os.getpid()}"


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys of this session, readable by the user that the containers run as."""
    directory = tmp_path_factory.mktemp("compose") / "secrets"
    readers = Readers(NOBODY, NOBODY) if os.getuid() == 0 else Readers()
    write_dev_secrets(directory, readers, is_forced=False, now=dt.datetime.now(dt.UTC))
    return directory


@pytest.fixture(scope="session")
def docker_setup(
    docker_compose_command: str, docker_compose_project_name: str, docker_compose_file: str, secrets: Path
) -> Iterator[list[str]]:
    """Start everything; on failure show what the parts said, and leave nothing behind either way."""
    user, group = (os.getuid(), os.getgid()) if os.getuid() else (NOBODY, NOBODY)
    compose = f'{docker_compose_command} -f "{docker_compose_file}" -p {docker_compose_project_name}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUN_AS", f"{user}:{group}")
        patch.setenv("SECRETS_DIR", str(secrets))
        patch.setenv("GATE_PORT", "0")  # any free port
        yield [f"up -d --no-build || {{ {compose} logs --tail=20; exit 1; }}"]
        subprocess.run(f"{compose} down -v", shell=True, capture_output=True, check=False, timeout=120)  # noqa: S602


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return []  # docker_setup does it: pytest-docker would not clean up after a start that failed


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def compose_stack(docker_services: Services, docker_compose_project_name: str) -> AsyncIterator[ComposeStack]:
    """The running stack; one for the whole session."""
    stack = ComposeStack(docker_compose_project_name, docker_services.port_for("envoy", ENVOY_PORT))
    await stack.wait_ready()
    yield stack
