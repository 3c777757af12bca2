from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tollhouse.up.ports import choose_ports
from tollhouse.up.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def policies() -> Path:
    return ROOT / "policies"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[Stack]:
    """The stack of `tollhouse up` on ports of its own; one for the whole session."""
    running = Stack(tmp_path_factory.mktemp("stack") / "run", choose_ports(None), policies, None)
    try:
        await running.start(lambda _: None)
        yield running
    finally:
        await running.stop()
