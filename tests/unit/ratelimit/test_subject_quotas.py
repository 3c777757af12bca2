"""Quotas per payer, device, address and sub-merchant: one counter each, and nothing missing is a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.cards import NEW, OLD, TEST_CARD
from helpers.limits import limit, limit_query
from policy.card_keys import CardKeyring
from ratelimit.ledger import Kind
from ratelimit.model import OverLimit
from ratelimit.posting import counters_of, find_counters
from ratelimit.reasons import Reason
from ratelimit.tables import Limit, Plan

BOTH = CardKeyring((NEW, OLD))
PAYER, CARD = BOTH.value_keys("payer", "p-1"), BOTH.card_keys(TEST_CARD)


def find(one: Limit, **changes):
    return find_counters(Plan(True, (), (one,), frozenset({"EUR"})), limit_query(**changes))


@pytest.mark.parametrize(("dimension", "field"), [("payer", "payers"), ("device", "devices"), ("ip", "addresses")])
def test_each_has_a_counter_under_every_key(dimension, field):
    one = limit("q", 1, dimensions=(dimension,))
    assert [counter.suffix for counter in find(one, **{field: PAYER})] == [f":{key}" for key in PAYER]


def test_sub_merchant_has_one_counter():
    one = limit("q", 1, dimensions=("sub_merchant",))
    assert [counter.suffix for counter in find(one, sub_merchant="s_1")] == [":s_1"]


def test_values_of_one_key_stand_together():
    one = limit("q", 1, dimensions=("card", "operation", "payer"))
    found = find(one, card_keys=CARD, payers=PAYER)
    assert [each.suffix for each in found] == [
        f":{card}:create_payment:{payer}" for card, payer in zip(CARD, PAYER, strict=True)
    ]


def test_cards_of_a_payer_are_counted_under_the_key_of_the_payer():
    one = limit("q", 1, metric="distinct", kind=Kind.DISTINCT, subject="card", dimensions=("payer",))
    found = find(one, card_keys=CARD, payers=PAYER)
    assert [(each.suffix, each.member) for each in found] == [
        (f":{payer}", card) for card, payer in zip(CARD, PAYER, strict=True)
    ]


@pytest.mark.parametrize(("dimension", "field"), [("payer", "payers"), ("sub_merchant", "sub_merchant")])
def test_payment_without_it_is_refused_unless_it_is_written(dimension, field):
    one, lacks = limit("q", 1, dimensions=(dimension,)), {field: "" if field == "sub_merchant" else ()}
    refused = find(one, **lacks)
    assert isinstance(refused, OverLimit)
    assert (refused.reason, refused.reason.spec.http_status) == (Reason.SUBJECT_MISSING, 403)
    assert find(replace(one, passes_without=True), **lacks) == []
    assert find(replace(one, is_shadow=True), **lacks) == []


@pytest.mark.parametrize("field", ["payers", "sub_merchant"])
def test_what_the_gate_did_not_look_for_is_no_payment_without_it(field):
    """The gate's policy is a revision behind: `without` says nothing about this payment."""
    one = limit("q", 1, dimensions=("payer" if field == "payers" else field,), passes_without=True)
    refused = find(one, **{field: None})
    assert isinstance(refused, OverLimit)
    assert refused.reason is Reason.SUBJECT_MISSING


def test_distinct_payers_need_a_payer():
    one = limit("q", 1, metric="distinct", kind=Kind.DISTINCT, subject="payer")
    assert counters_of(one, limit_query()) is None
    assert [each.member for each in find(one, payers=PAYER)] == [PAYER[0]]
