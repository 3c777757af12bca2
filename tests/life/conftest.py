"""Real processes that stop, reload, restart and die while payments flow.

Tests marked `life` take minutes together and are left out unless asked for: `scripts/life`, or `-m life`.
"""

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "life: every dependency killed and paused under load; run by scripts/life")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "life" in config.option.markexpr:
        return
    here = Path(__file__).parent
    left_out = [item for item in items if item.path.is_relative_to(here) and item.get_closest_marker("life")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
