"""What a quota has used after each end that a payment can have, through a real Envoy that tells the limiter of it."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from helpers.bound_stack import BoundStack
from helpers.faulty_upstream import FaultyUpstream
from helpers.told import AMOUNT, SAID, Told, abandoned, envoy_before, running, with_quotas
from helpers.waiting import until
from tollhouse.up.ports import choose_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUOTAS = """\
quotas:
  - id: authorized
    owner: a
    metric: amount
    interval: daily
    operations: [create_payment, refund_payment]
    currency: EUR
    limit: 1000000
    counts: authorized
  - {id: at_once, owner: a, metric: in_flight, lease: 600s, operations: [create_payment], limit: 500}
"""
REFUSE_LATER = """\
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies:
                  later: {permissions: [{header: {name: x-refuse, present_match: true}}], principals: [{any: true}]}
"""
ROUTER = "          - name: envoy.filters.http.router\n"
HOSTS = re.compile(r"(cluster_name: payments_upstream\n      endpoints: )\[.*\]\n")


def with_later_filter(chain: str) -> str:
    assert ROUTER in chain
    return chain.replace(ROUTER, REFUSE_LATER + ROUTER)


def without_hosts(chain: str) -> str:
    changed = HOSTS.sub(r"\1[]\n", chain)
    assert changed != chain
    return changed


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(tmp_path_factory: pytest.TempPathFactory, policies: Path) -> AsyncIterator[Told]:
    directory = tmp_path_factory.mktemp("outcomes")
    copy = with_quotas(policies, directory, QUOTAS)
    stack = BoundStack(directory / "run", choose_ports(None), copy, None, is_tls=False)
    async with running(stack, directory, with_later_filter) as told:
        yield told


@pytest.mark.parametrize(
    ("reference", "status", "kind"),
    [
        ("s200", 200, "spent"),
        ("s402", 402, "released"),
        ("s400", 400, "in_doubt"),
        ("s503", 503, "in_doubt"),
        ("s500", 500, "in_doubt"),
        ("close", 503, "in_doubt"),
        ("reset", 503, "in_doubt"),
        ("cut", 0, "in_doubt"),
        ("hang", 504, "in_doubt"),
    ],
)
async def test_payment_that_the_upstream_has_read(told: Told, reference: str, status: int, kind: str):
    amount, leases = await told.used()
    async with told.told(kind):
        assert await told.status(reference) == status
    assert told.upstream.taken[-1] == reference
    is_over = kind != "in_doubt"
    assert await told.used() == (amount + (0 if kind == "released" else AMOUNT), leases + (0 if is_over else 1))


async def test_payment_of_a_client_that_has_left_is_in_doubt(told: Told):
    before = await told.used()
    told.upstream.has_begun.clear()
    async with told.told("in_doubt"):
        paying = asyncio.create_task(abandoned(told))
        await told.upstream.has_begun.wait()
        paying.cancel()
    assert await told.used() == (before[0] + AMOUNT, before[1] + 1)


async def test_payment_that_another_filter_refuses_is_given_back(told: Told):
    before, taken = await told.used(), len(told.upstream.taken)
    async with told.told("released"):
        assert await told.status("s200", **{"x-refuse": "yes"}) == 403
    assert (await told.used(), len(told.upstream.taken)) == (before, taken)


async def test_payment_that_no_upstream_could_take_is_given_back(told: Told):
    before = await told.used()
    async with FaultyUpstream() as gone:
        closed = gone.port
    for change in (str, without_hosts):
        envoy = envoy_before(told.stack, told.directory / f"{change.__name__}.yaml", closed, change)
        async with envoy as (port, _), told.told("released"):
            assert await told.status("s200", port) == 503
    assert await told.used() == before


async def test_payment_over_the_limit_tells_of_nothing_that_was_held(told: Told):
    before = await told.used()
    async with told.told("released", "unmatched"):
        # extauthz has let it through, ratelimit has not, and has written nothing.
        assert await told.status_of(amount={"minor_units": 2_000_000, "currency": "EUR"}) == 429
    assert await told.used() == before


async def test_envoy_says_nothing_of_a_payment_that_extauthz_refuses(told: Told):
    before, written = await told.used(), told.written()
    assert await told.status_of(merchant_id="m_small") == 403
    async with told.told("spent"):
        assert await told.status("s200") == 200
    assert told.written() == written + 1
    assert (await told.used())[0] == before[0] + AMOUNT


FORGED = {
    "another amount": ({"amount_minor": str(AMOUNT * 100)}, "contradicted"),
    "another currency": ({"currency": "USD"}, "contradicted"),
    "another operation": ({"operation": "refund_payment"}, "contradicted"),
    "another merchant": ({"merchant_id": "m_small"}, "unmatched"),
    "another decision": ({"decision_id": "f" * 32}, "unmatched"),
}


async def test_forged_entries_change_nothing_while_a_payment_is_held(told: Told):
    amount, leases = await told.used()
    let_through = len(told.decisions())
    told.upstream.may_answer.clear()
    paying = asyncio.create_task(told.status("wait"))
    await until(lambda: told.upstream.taken[-1:] == ["wait"], 20)
    decision = await told.decision_after(let_through)
    for changes, word in FORGED.values():
        before = told.entries(word)
        await told.send_entry(402, {**SAID, "decision_id": decision, **changes})
        await until(lambda word=word, before=before: told.entries(word) == before + 1, 10)
    assert await told.used() == (amount + AMOUNT, leases + 1)
    # The one that is true finds the hold still open.
    async with told.told("spent"):
        told.upstream.may_answer.set()
        assert await paying == 200
    assert await told.used() == (amount + AMOUNT, leases)


async def test_late_and_repeated_entries_change_nothing(told: Told):
    let_through = len(told.decisions())
    async with told.told("spent"):
        assert await told.status("s200") == 200
    decision = await told.decision_after(let_through)
    before, entries = await told.used(), told.entries("unmatched")
    for status in (402, 200, 402):
        await told.send_entry(status, {**SAID, "decision_id": decision})
    await until(lambda: told.entries("unmatched") == entries + 3, 10)
    assert await told.used() == before
