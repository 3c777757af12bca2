"""Prints how many cases ran, and how many the service decided otherwise, at the end of the run."""

from __future__ import annotations

import pytest

COUNTS = pytest.StashKey[dict[str, int]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash.get(COUNTS, {})
    if counts:
        terminalreporter.write_line("cases: " + ", ".join(f"{number} {name}" for name, number in counts.items()))


@pytest.fixture
def case_counts(request: pytest.FixtureRequest) -> dict[str, int]:
    """Counts that the end of the run prints."""
    return request.config.stash.setdefault(COUNTS, {})
