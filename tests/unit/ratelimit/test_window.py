"""Windows end where the merchant's clock says so."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ratelimit.window import Windows, day_window, second_window


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("zone", "now", "label", "ends"),
    [
        pytest.param(
            "Europe/Berlin", "2026-03-29T21:30:00", "d20260329", "2026-03-29T22:00:00", id="a day of 23 hours"
        ),
        pytest.param(
            "Europe/Berlin", "2026-10-25T22:30:00", "d20261025", "2026-10-25T23:00:00", id="a day of 25 hours"
        ),
        pytest.param("Asia/Shanghai", "2026-01-31T16:00:00", "d20260201", "2026-02-01T16:00:00", id="east of UTC"),
        pytest.param("America/New_York", "2026-01-01T04:59:59", "d20251231", "2026-01-01T05:00:00", id="west of UTC"),
        pytest.param("Asia/Kathmandu", "2026-06-01T18:15:00", "d20260602", "2026-06-02T18:15:00", id="quarter hour"),
    ],
)
def test_day_ends_at_the_merchants_midnight(zone, now, label, ends):
    window = day_window(at(now), ZoneInfo(zone))
    assert (window.label, window.ends_at) == (label, at(ends))


def test_days_with_a_clock_change_have_23_and_25_hours():
    berlin = ZoneInfo("Europe/Berlin")
    assert day_window(at("2026-03-28T23:00:00"), berlin).ends_at - at("2026-03-28T23:00:00") == 23 * 3600
    assert day_window(at("2026-10-24T22:00:00"), berlin).ends_at - at("2026-10-24T22:00:00") == 25 * 3600


def test_second_window_ends_with_the_second():
    window = second_window(1_700_000_000.75)
    assert (window.label, window.reset_seconds(1_700_000_000.75)) == ("s1700000000", 1)


def test_kept_day_is_left_when_midnight_passes_and_when_the_clock_steps_back():
    windows = Windows()
    zone = ZoneInfo("UTC")
    before, after = at("2026-05-01T23:59:59"), at("2026-05-02T00:00:00")
    assert windows.window("daily", before, zone).label == "d20260501"
    assert windows.window("daily", after, zone).label == "d20260502"
    assert windows.window("daily", before, zone).label == "d20260501"


def test_single_payment_has_no_window():
    with pytest.raises(ValueError, match="no window"):
        Windows().window("per_transaction", 0.0, ZoneInfo("UTC"))
