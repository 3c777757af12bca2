"""While card keys rotate, no mixture of replicas lets a card spend more than its quota, on any store."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from helpers.cards import NEW, OLD, OTHER_CARD, TEST_CARD
from helpers.counter_stores import STORES, counter_store
from helpers.limits import limit, limit_query, tables
from policy.card_keys import CardKeyring
from ratelimit.model import WithinLimit
from ratelimit.pipeline import Engine, Trail, decide
from ratelimit.window import Windows

LIMIT = 5_000
RINGS = {"old": CardKeyring((OLD,)), "both": CardKeyring((NEW, OLD)), "new": CardKeyring((NEW,))}
# A step of a rotation may begin once every replica has done the one before it: at most two rings are ever in use.
STEPS = (("old", "old"), ("old", "both"), ("both", "both"))


class NoonClock:
    """The store's monotonic time, and a wall time that stands still at noon: no window ends during a run."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic

    def wall(self) -> float:
        return 1_700_049_600.0


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_mixture_of_rings_lets_a_card_pass_its_quota(kind: str, seed: int):
    draw = random.Random(seed)  # noqa: S311 - a drawn order, not a secret
    quotas = tables(limit("card_amount", LIMIT, metric="amount", currency="EUR", dimensions=("card",)))
    async with counter_store(kind) as store:
        engine = Engine(store.counters, Windows(), NoonClock(store.monotonic))
        for first, second in (*STEPS, ("both", "new"), ("new", "new")):
            if (first, second) == ("both", "new"):
                # The old key is dropped in a window in which it was never alone.
                await store.clear()
                spent = dict.fromkeys((TEST_CARD, OTHER_CARD), 0)
            elif (first, second) == ("old", "old"):
                spent = dict.fromkeys((TEST_CARD, OTHER_CARD), 0)
            for _ in range(12):
                card, ring, amount = draw.choice(list(spent)), draw.choice((first, second)), draw.randint(1, 900)
                query = limit_query(amount_minor=amount, card_keys=RINGS[ring].card_keys(card))
                deadline = store.monotonic() + 5.0
                verdict = await decide(quotas, query, Trail("d" * 32), deadline, engine)
                fits = spent[card] + amount <= LIMIT
                assert isinstance(verdict, WithinLimit) is fits
                spent[card] += amount if fits else 0
        assert max(spent.values()) > LIMIT // 2
