"""Real processes that get more than they can do.

These tests take minutes together and need an otherwise quiet machine to say much, so they are left out unless
asked for: `scripts/pressure`, or `-m pressure`.
"""

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pressure: floods beyond what a service can do; run by scripts/pressure")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if item.path.is_relative_to(here)]
    for item in ours:
        item.add_marker(pytest.mark.pressure)
    if ours and "pressure" not in config.option.markexpr:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]
