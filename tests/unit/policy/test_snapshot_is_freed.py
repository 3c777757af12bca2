"""A dropped snapshot is freed by reference counts: `chassis.heap` sets it aside from the garbage collector."""

from __future__ import annotations

import gc

import pytest

import ratelimit.compile
from chassis import heap
from chassis.clock import SystemClock
from chassis.http_client import HttpClient
from extauthz.compile import OperatorMeans, compile_tables
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.key_sets import KeySets
from helpers.cards import KEYRING
from helpers.services import copy_policies
from policy.loader import load_policy_set


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_snapshot_of_either_service_holds_no_reference_cycles(tmp_path, no_collection):
    clock = SystemClock()
    keys, cache = KeySets(HttpClient(), clock), ClaimsCache()
    policies = copy_policies(tmp_path / "policies")
    policy = load_policy_set(policies)
    snapshot = [policy, compile_tables(policy, keys=keys, cache=cache, clock=clock, given=OperatorMeans(KEYRING))]
    snapshot.append(ratelimit.compile.compile_tables(policy))
    gc.collect()
    snapshot.clear()
    del policy
    assert gc.collect() == 0


def test_what_is_settled_is_set_aside_and_still_freed():
    thresholds = gc.get_threshold()
    try:
        kept = [[] for _ in range(1000)]
        heap.settle()
        settled = gc.get_freeze_count()
        assert settled >= len(kept)
        kept.clear()
        assert gc.get_freeze_count() <= settled - 1000
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
