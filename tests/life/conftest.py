"""Real processes that stop, reload, restart and die while payments flow.

Tests marked `life` take minutes together and are left out unless asked for: `scripts/life`, or `-m life`.
"""

from pathlib import Path

import pytest

from helpers.life_faults import Row, save, show
from helpers.selection import leave_out_unless_asked

ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--life-json", metavar="FILE", default=None, help="also write the table of faults as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "life: every dependency killed and paused under load; run by scripts/life")
    config.stash[ROWS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out_unless_asked(config, items, "life")


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """The table so far; a test adds its row."""
    return request.config.stash[ROWS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = sorted(config.stash[ROWS], key=lambda row: (row.replicas, row.part, row.how))
    if not found:
        return
    terminalreporter.ensure_newline()
    show(found, terminalreporter.write)
    if path := config.getoption("--life-json", default=None):
        save(found, Path(path))
