"""A quota per card: one counter a card, both keys of a rotation counted, and no card is no pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chassis.store_link import StoreUnavailable, Unavailability
from helpers.cards import NEW, OLD, OTHER_CARD, TEST_CARD
from helpers.clock import FakeClock
from helpers.limits import limit, limit_query, tables
from policy.card_keys import CardKeyring
from ratelimit.memory_ledger import MemoryLedger
from ratelimit.model import OverLimit, WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.reasons import Reason
from ratelimit.window import Windows

BEFORE, DURING, AFTER = CardKeyring((OLD,)), CardKeyring((NEW, OLD)), CardKeyring((NEW,))
PER_CARD = limit("per_card", 2, dimensions=("card",))
MERCHANT = limit("merchant", 100)


class Rig:
    """The steps over a memory store; a card comes in under the keys of a keyring."""

    def __init__(self, *limits):
        self.clock = FakeClock()
        self.tables = tables(*limits)
        self.engine = Engine(MemoryLedger(self.clock), Windows(), self.clock)

    async def pay(self, keyring=BEFORE, card=TEST_CARD, **changes):
        card_keys = () if card is None else keyring.card_keys(card)
        query = limit_query(card_keys=card_keys, **changes)
        return await decide(self.tables, query, Trail("d" * 32), self.clock.monotonic() + 1.0, self.engine)


async def test_each_card_has_its_own_counter_and_the_merchant_one_for_all():
    rig = Rig(PER_CARD, MERCHANT)
    assert isinstance(await rig.pay(), WithinLimit)
    assert isinstance(await rig.pay(), WithinLimit)
    refused = await rig.pay()
    assert (refused.reason, refused.deciding.quota) == (Reason.QUOTA_EXCEEDED, "per_card")
    other = await rig.pay(card=OTHER_CARD)
    assert isinstance(other, WithinLimit)
    assert [(state.quota, state.used) for state in other.states] == [("per_card", 1), ("merchant", 3)]


async def test_amounts_of_a_card_are_added():
    rig = Rig(limit("amount", 2500, metric="amount", currency="EUR", dimensions=("card",)))
    assert isinstance(await rig.pay(), WithinLimit)
    assert isinstance(await rig.pay(), WithinLimit)
    assert isinstance(await rig.pay(), OverLimit)
    assert isinstance(await rig.pay(amount_minor=500), WithinLimit)
    assert isinstance(await rig.pay(card=OTHER_CARD), WithinLimit)


async def test_payment_without_a_card_is_refused():
    refused = await Rig(PER_CARD).pay(card=None)
    assert isinstance(refused, OverLimit)
    assert (refused.reason, refused.reason.spec.http_status) == (Reason.CARD_MISSING, 403)


async def test_payment_without_a_card_passes_only_where_it_is_written_and_costs_the_merchant():
    rig = Rig(replace(PER_CARD, passes_without=True), MERCHANT)
    for used in (1, 2, 3):
        verdict = await rig.pay(card=None)
        assert [(state.quota, state.used) for state in verdict.states] == [("merchant", used)]


async def test_shadow_quota_refuses_no_payment_without_a_card():
    assert isinstance(await Rig(replace(PER_CARD, is_shadow=True)).pay(card=None), WithinLimit)


@pytest.mark.parametrize("others", [DURING, AFTER], ids=["both keys", "the new key alone"])
async def test_replicas_with_other_keys_count_the_same_card_once_they_share_a_key(others):
    """Old with both, both with new: no order of replicas lets a third payment through."""
    start = BEFORE if others is DURING else DURING
    for order in ([start, others], [others, start]):
        rig = Rig(PER_CARD)
        assert isinstance(await rig.pay(order[0]), WithinLimit)
        assert isinstance(await rig.pay(order[1]), WithinLimit)
        for keyring in (start, others):
            assert isinstance(await rig.pay(keyring), OverLimit)


async def test_count_of_the_old_key_goes_on_while_the_new_one_fills():
    rig = Rig(PER_CARD)
    await rig.pay(BEFORE)
    verdict = await rig.pay(DURING)
    assert [(state.quota, state.used) for state in verdict.states] == [("per_card", 1), ("per_card", 2)]
    assert verdict.deciding.used == 2


async def test_old_key_may_be_dropped_in_the_next_window():
    rig = Rig(PER_CARD)
    await rig.pay(BEFORE)
    refused = [await rig.pay(DURING), await rig.pay(DURING)][-1]
    rig.clock.advance(refused.retry_after_seconds)
    assert isinstance(await rig.pay(DURING), WithinLimit)
    assert isinstance(await rig.pay(AFTER), WithinLimit)
    assert isinstance(await rig.pay(AFTER), OverLimit)


async def test_refused_payment_costs_neither_card_nor_merchant():
    rig = Rig(PER_CARD, limit("merchant", 3))
    for _ in range(5):
        await rig.pay(DURING)
    assert isinstance(await rig.pay(DURING, card=OTHER_CARD), WithinLimit)
    assert isinstance(await rig.pay(DURING, card=OTHER_CARD), OverLimit)


async def test_card_quota_without_a_store_follows_on_store_failure():
    class Away(MemoryLedger):
        async def post(self, posting, deadline):
            raise StoreUnavailable(Unavailability.DEADLINE)

    for denies in (True, False):
        rig = Rig(replace(PER_CARD, denies_without_store=denies))
        rig.engine = Engine(Away(rig.clock), Windows(), rig.clock)
        assert isinstance(await rig.pay(), OverLimit) is denies
        assert isinstance(await rig.pay(card=None), OverLimit)
