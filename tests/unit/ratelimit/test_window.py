"""Windows end where the merchant's clock says so."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.window import ENDLESS, Frame, Windows, second_window

DAY = Frame("day")


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
    window = DAY.window(at(now), ZoneInfo(zone))
    assert (window.label, window.ends_at) == (label, at(ends))


@pytest.mark.parametrize(
    ("frame", "now", "label", "starts", "ends"),
    [
        (Frame("day", cut_off_minutes=1080), "2026-03-28T17:00:00", "d20260328t1800", "2026-03-28T17:00:00", 23),
        (Frame("day", cut_off_minutes=1080), "2026-03-28T16:59:59", "d20260327t1800", "2026-03-27T17:00:00", 24),
        (Frame("week"), "2026-11-25T12:00:00", "w20261123", "2026-11-22T23:00:00", 168),
        (Frame("week", start_day=7), "2026-11-21T12:00:00", "w20261115", "2026-11-14T23:00:00", 168),
        (Frame("week"), "2026-03-29T12:00:00", "w20260323", "2026-03-22T23:00:00", 167),
        (Frame("month"), "2026-10-31T23:30:00", "m20261101", "2026-10-31T23:00:00", 720),
        (Frame("month", start_day=15), "2026-02-14T12:00:00", "m20260115", "2026-01-14T23:00:00", 744),
        (Frame("month", start_day=28, cut_off_minutes=60), "2026-02-28T00:30:00", "m20260228t0100", None, 672),
        (Frame("rolling", length_seconds=3600, anchor=1800), "1970-01-01T02:00:00", "r3600.5400", None, 1),
        (Frame("rolling", length_seconds=3600), "1969-12-31T23:59:59", "r3600.-3600", None, 1),
    ],
)
def test_windows_of_every_unit_begin_and_end_by_the_local_calendar(frame, now, label, starts, ends):
    window = frame.window(at(now), ZoneInfo("Europe/Berlin"))
    assert window.label == label
    assert (window.ends_at - window.starts_at) / 3600 == ends
    assert starts is None or window.starts_at == at(starts)


def test_zone_of_the_quota_goes_before_the_merchants():
    frame = Frame("day", zone=ZoneInfo("Asia/Shanghai"))
    assert frame.window(at("2026-01-31T16:00:00"), ZoneInfo("Europe/Berlin")).label == "d20260201"


def test_lifetime_never_ends():
    window = Frame("lifetime").window(at("2026-01-01T00:00:00"), ZoneInfo("UTC"))
    assert (window.label, window.ends_at, window.reset_seconds(0.0)) == ("life", ENDLESS, 0)
    assert window.expires_in_seconds(0.0) > 9 * 365 * 86_400


frames = st.one_of(
    st.builds(Frame, st.just("day"), cut_off_minutes=st.integers(0, 1439)),
    st.builds(Frame, st.just("week"), cut_off_minutes=st.integers(0, 1439), start_day=st.integers(1, 7)),
    st.builds(Frame, st.just("month"), cut_off_minutes=st.integers(0, 1439), start_day=st.integers(1, 28)),
    st.builds(
        Frame, st.just("rolling"), length_seconds=st.integers(60, 90 * 86_400), anchor=st.integers(0, 2_000_000_000)
    ),
)
zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Gaza"]
)


@given(frames, zones, st.floats(0, 4e9))
def test_every_moment_lies_in_its_window_and_windows_follow_each_other(frame, zone, now):
    here = ZoneInfo(zone)
    window = frame.window(now, here)
    assert window.starts_at <= now < window.ends_at
    following = frame.window(window.ends_at, here)
    assert following.starts_at == pytest.approx(window.ends_at, abs=1e-3)
    assert following.label != window.label


def test_second_window_ends_with_the_second():
    window = second_window(1_700_000_000.75)
    assert (window.label, window.reset_seconds(1_700_000_000.75)) == ("s1700000000", 1)


def test_kept_day_is_left_when_midnight_passes_and_when_the_clock_steps_back():
    windows = Windows()
    zone = ZoneInfo("UTC")
    before, after = at("2026-05-01T23:59:59"), at("2026-05-02T00:00:00")
    assert windows.window(DAY, before, zone).label == "d20260501"
    assert windows.window(DAY, after, zone).label == "d20260502"
    assert windows.window(DAY, before, zone).label == "d20260501"
