"""The limit of failed authentications by address, alone."""

from __future__ import annotations

import pytest

from extauthz.tokens.failures import FailedAuthentications


def _fail(failures: FailedAuthentications, address: str, times: int, now: float = 100.0) -> None:
    for _ in range(times):
        failures.record(address, 10, now)


def test_address_may_fail_as_often_as_allowed_and_then_waits():
    failures = FailedAuthentications()
    _fail(failures, "192.0.2.1", 9)
    assert failures.wait_seconds("192.0.2.1", 10, 100.0) == 0
    _fail(failures, "192.0.2.1", 1)
    wait = failures.wait_seconds("192.0.2.1", 10, 100.0)
    assert wait == 6
    assert failures.wait_seconds("192.0.2.1", 10, 100.0 + wait) == 0
    assert failures.wait_seconds("192.0.2.1", 10, 100.0 + wait - 1) > 0


def test_limit_of_one_lets_one_through_and_lets_it_in_again():
    failures = FailedAuthentications()
    assert failures.wait_seconds("192.0.2.1", 1, 0.0) == 0
    failures.record("192.0.2.1", 1, 0.0)
    assert failures.wait_seconds("192.0.2.1", 1, 0.0) == 60
    assert failures.wait_seconds("192.0.2.1", 1, 60.0) == 0


def test_other_address_is_not_held_up():
    failures = FailedAuthentications()
    _fail(failures, "192.0.2.1", 100)
    assert failures.wait_seconds("192.0.2.2", 10, 100.0) == 0


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "no address", True),
        ("", "192.0.2.1", False),
    ],
)
def test_addresses_of_one_caller_share_one_limit(first, second, is_one):
    failures = FailedAuthentications()
    _fail(failures, first, 10)
    assert (failures.wait_seconds(second, 10, 100.0) > 0) is is_one


def test_flood_from_many_addresses_is_forgotten_from_the_oldest_on():
    failures = FailedAuthentications(max_addresses=100)
    for number in range(1000):
        _fail(failures, f"198.18.{number // 250}.{number % 250}", 10)
    assert len(failures) == 100
    assert failures.wait_seconds("198.18.3.249", 10, 100.0) > 0
    assert failures.wait_seconds("198.18.0.0", 10, 100.0) == 0
