"""What is remembered about counters that are over: bounded, for a moment, and never against a raised limit."""

from __future__ import annotations

from helpers.tally_stores import hit
from ratelimit.descriptors.held_over import HOLD_SECONDS, HeldOver


def test_same_hit_is_held_until_the_moment_has_passed():
    held = HeldOver(10, is_compat=False)
    held.add(hit("a", 3), 3, now=100.0)
    assert held.holds(hit("a", 3), 100.0)
    assert not held.holds(hit("a", 3), 100.0 + HOLD_SECONDS)
    assert not held.is_used


def test_raised_limit_and_smaller_hit_are_asked_about_by_default():
    held = HeldOver(10, is_compat=False)
    held.add(hit("a", 5, 3), 4, now=100.0)
    assert held.holds(hit("a", 5, 2), 100.0)
    assert not held.holds(hit("a", 5, 1), 100.0)
    assert not held.holds(hit("a", 9, 3), 100.0)


def test_compat_holds_whatever_is_asked_until_the_window_ends():
    held = HeldOver(10, is_compat=True)
    held.add(hit("a", 1), 2, now=100.0)
    assert held.holds(hit("a", 100, 0), 159.0)
    assert not held.holds(hit("a", 1), 160.0)


def test_giving_back_forgets():
    held = HeldOver(10, is_compat=False)
    held.add(hit("a", 1), 1, now=100.0)
    assert not held.holds(hit("a", 1, back=True), 100.0)
    assert not held.holds(hit("a", 1), 100.0)


def test_oldest_makes_room():
    held = HeldOver(2, is_compat=False)
    for key in "abc":
        held.add(hit(key, 1), 1, now=100.0)
    assert [held.holds(hit(key, 1), 100.0) for key in "abc"] == [False, True, True]
    none = HeldOver(0, is_compat=False)
    none.add(hit("a", 1), 1, now=100.0)
    assert not none.is_used
