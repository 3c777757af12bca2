"""Real processes that get more than they can do.

These tests take minutes together and need an otherwise quiet machine to say much, so they are left out unless
asked for: `scripts/pressure`, or `-m pressure`.
"""

import pytest

from helpers.selection import leave_out_unless_asked


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pressure: floods beyond what a service can do; run by scripts/pressure")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out_unless_asked(config, items, "pressure")
