"""Medians, ratios, the table and the JSON members of `scripts/bench`."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from bench.__main__ import show
from bench.report import Round, Row, as_json, as_table, comparisons, floor_ratio

MEMBERS = ["service", "case", "transport", "in_flight", "cpu_us", "floor_ratio", "rps", "p50_us", "p99_us"]


def row(case: str, *cpu_us: float, service="extauthz", transport="envoy", in_flight=64, void="") -> Row:
    rounds = tuple(Round(cpu, rps=1000.0, p50_us=500.0, p99_us=900.0) for cpu in cpu_us)
    return Row(service, case, transport, in_flight, rounds, void)


FLOOR = row("floor", 50, 40, 60)
WARM = row("warm", 150, 100, 900)


def test_json_has_exactly_the_members_and_medians():
    first, second = json.loads(as_json([FLOOR, WARM]))
    assert list(first) == list(second) == MEMBERS
    assert second == {
        "service": "extauthz",
        "case": "warm",
        "transport": "envoy",
        "in_flight": 64,
        "cpu_us": 150.0,
        "floor_ratio": 3.0,
        "rps": 1000.0,
        "p50_us": 500.0,
        "p99_us": 900.0,
    }


def test_void_row_has_no_figures_anywhere():
    void = row("warm", 100, void="100 sent, counted: 99 allow, 1 deny")
    assert [each["case"] for each in json.loads(as_json([FLOOR, void]))] == ["floor"]
    console = Console(width=160, file=io.StringIO())
    with console.capture() as printed:
        console.print(as_table([FLOOR, void]))
    text = printed.get()
    assert "VOID" in text
    assert "counted: 99 allow, 1 deny" in text
    assert floor_ratio(void, [FLOOR, void]) is None


def test_void_floor_leaves_the_others_without_ratio():
    assert floor_ratio(WARM, [row("floor", 50, void="x"), WARM]) is None


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (row("floor", 10, in_flight=1), "load"),
        (row("floor", 10, service="ratelimit"), "service"),
        (row("floor", 10, transport="grpcio"), "transport"),
    ],
)
def test_ratio_takes_the_floor_of_the_same_service_transport_and_load(other, why):
    assert floor_ratio(WARM, [other, FLOOR, WARM]) == 3.0


def test_peer_is_compared_with_the_first_floor():
    peer = row("warm", 500, transport="opa")
    assert floor_ratio(peer, [FLOOR, row("floor", 100, transport="grpcio"), peer]) == 10.0


def test_exit_code_is_1_when_a_row_is_void(capsys):
    assert show([FLOOR, WARM], None) == 0
    assert show([FLOOR, row("warm", void="h2load said: no")], None) == 1
    assert "VOID extauthz warm on envoy at 64: h2load said: no" in capsys.readouterr().err


def test_nothing_measured_is_a_failure():
    assert show([], None) == 1


def test_json_file_is_written(tmp_path):
    assert show([FLOOR, WARM], tmp_path / "rows.json") == 0
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 2


def test_comparisons_name_both_sides():
    rows = [
        WARM,
        row("warm", 600, transport="grpcio"),
        row("cold", 300),
        row("rules_100", 180),
        row("merchants_10", 100),
        row("merchants_10k", 110),
        row("cold", 100, in_flight=1),
    ]
    assert comparisons(rows) == [
        "extauthz warm on envoy at 64: 0.25 x grpcio",
        "extauthz cold on envoy at 64: 2.00 x warm",
        "extauthz rules_100 on envoy at 64: 1.20 x warm",
        "extauthz merchants_10k on envoy at 64: 1.10 x merchants_10",
    ]


def test_descriptors_have_a_floor_of_their_own():
    rows = [row("floor", 10), row("floor_descriptors", 40), row("descriptors", 80)]
    assert floor_ratio(rows[2], rows) == 2.0


def test_memory_of_a_counter_is_said_once():
    rows = [Row("ratelimit", "merchants_1m", "envoy", level, WARM.rounds, counter_bytes=124.6) for level in (1, 64)]
    assert comparisons(rows) == ["ratelimit merchants_1m on envoy: 125 bytes of the store a counter"]
