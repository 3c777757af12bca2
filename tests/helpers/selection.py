"""Tests that are left out of a run unless it asks for them by their marker."""

from __future__ import annotations

import pytest


def leave_out_unless_asked(config: pytest.Config, items: list[pytest.Item], marker: str) -> None:
    """Take the tests with this marker out of `items` where no `-m` names it."""
    if marker in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker(marker)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
