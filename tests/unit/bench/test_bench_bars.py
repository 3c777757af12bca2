"""The bars that a run of `scripts/bench` is held against."""

from __future__ import annotations

import pytest

from bench.bars import verdicts
from bench.report import Round, Row


def row(service: str, case: str, cpu_us: float, *, transport="envoy", in_flight=64, void="") -> Row:
    return Row(service, case, transport, in_flight, (Round(cpu_us, 1.0, 1.0, 1.0),), void)


@pytest.mark.parametrize(("cpu_us", "word"), [(320, "met"), (321, "MISSED")])
def test_check_is_held_against_its_floor(cpu_us, word):
    (line,) = verdicts([row("extauthz", "floor", 100), row("extauthz", "warm", cpu_us)])
    assert line.split() == f"{word} extauthz warm at 64: {cpu_us / 100:.2f} x floor, at most 3.2 wanted".split()


def test_every_bar_is_judged_when_everything_was_measured():
    rows = [
        row("extauthz", "floor", 100),
        row("extauthz", "warm", 300),
        row("extauthz", "warm", 700, transport="grpcio"),
        row("extauthz", "cold", 900),
        row("extauthz", "rules_100", 330),
        row("extauthz", "merchants_10", 300),
        row("extauthz", "merchants_10k", 310),
        row("ratelimit", "floor", 30),
        row("ratelimit", "warm", 60),
        row("ratelimit", "floor", 100, in_flight=1),
        row("ratelimit", "warm", 270, in_flight=1),
        row("ratelimit", "merchants_10", 100),
        row("ratelimit", "merchants_10k", 130),
    ]
    words = [line.split()[0] for line in verdicts(rows)]
    assert words == ["met", "met", "MISSED", "met", "met", "met", "MISSED", "MISSED"]


def test_void_and_missing_rows_say_nothing():
    assert verdicts([row("extauthz", "floor", 100, void="x"), row("extauthz", "warm", 300)]) == []
    assert verdicts([]) == []


def test_descriptors_are_held_against_the_floor_of_their_own_bytes():
    costs = {"floor": 10, "floor_descriptors": 50, "descriptors": 90}
    (line,) = verdicts([row("ratelimit", case, cpu_us) for case, cpu_us in costs.items()])
    assert " ".join(line.split()).startswith("met ratelimit descriptors at 64: 1.80 x floor_descriptors,")


def test_more_quotas_and_more_merchants_are_held_against_few():
    pairs = {"floor": 60, "leased": 99, "quotas_1": 100, "quotas_5": 151, "merchants_1k": 100, "merchants_1m": 119}
    lines = verdicts([row("ratelimit", case, cpu_us) for case, cpu_us in pairs.items()])
    assert [line.split()[:3] for line in lines] == [
        ["MISSED", "ratelimit", "leased"],
        ["MISSED", "ratelimit", "quotas_5"],
        ["met", "ratelimit", "merchants_1m"],
    ]
