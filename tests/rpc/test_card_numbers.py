"""extauthz with a card key file: the number goes in, its keyed hash goes out, and a rotation needs no restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import extauthz.server
from chassis.service import StartRefused
from helpers.cards import NEW, OLD, TEST_CARD, write_card_keys_file
from helpers.issuer import SigningKey
from helpers.services import copy_policies, gate, payment
from helpers.waiting import until
from policy.card_keys import CardKeyring
from policy.settings import ServiceSettings

PAID = payment(card={"number": TEST_CARD, "country": "DE"})


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey("RS256")


def card_key_of(response) -> str:
    return response.dynamic_metadata.fields["card_key"].string_value


async def test_hand_off_carries_the_keyed_hash_and_none_without_a_card(tmp_path, key):
    async with gate(tmp_path, key) as running:
        token = running.token()
        paid = await running.check(token, body=PAID)
        assert card_key_of(paid) == OLD.card_key(TEST_CARD)
        assert card_key_of(await running.check(token)) == "none"
        assert TEST_CARD.encode() not in paid.SerializeToString()


async def test_changed_card_key_file_counts_without_a_restart_and_a_broken_one_does_not(tmp_path, key):
    async with gate(tmp_path, key) as running:
        token = running.token()
        write_card_keys_file(running.card_keys, NEW, OLD)
        both = ",".join(CardKeyring((NEW, OLD)).card_keys(TEST_CARD))

        async def came() -> str:
            return card_key_of(await running.check(token, body=PAID))

        async with asyncio.timeout(30.0):
            while await came() != both:  # noqa: ASYNC110 - the file system sets no asyncio.Event
                await asyncio.sleep(0.05)
        replace(running.card_keys, "broken\n")
        await until(lambda: running.service.policy_status()["last_error"], 30.0)
        assert "card.keys:1: expected" in running.service.policy_status()["last_error"]
        assert await came() == both


def replace(path: Path, content: str) -> None:
    path.write_text(content)


@pytest.mark.parametrize("content", [None, "", "k1 short\n"], ids=["no file", "an empty file", "a short key"])
async def test_service_that_reads_card_numbers_refuses_to_start_without_keys(tmp_path, content):
    policies = copy_policies(tmp_path / "policies")
    path = tmp_path / "card.keys"
    if content is not None:
        path.write_text(content)
    name = "" if content is None else str(path)
    service = extauthz.server.build(ServiceSettings(policies=str(policies), card_key_file=name))
    with pytest.raises(StartRefused) as refused:
        await service.start()
    assert ("P044" if content is None else str(path)) in str(refused.value)
    assert "short" not in str(refused.value).partition(": ")[2]


async def test_record_names_the_card_key_and_neither_number_nor_bin_nor_last_digits(tmp_path, key):
    async with gate(tmp_path, key) as running:
        card = {"number": TEST_CARD, "bin": TEST_CARD[:8], "last4": TEST_CARD[-4:], "country": "DE"}
        await running.check(running.token(), body=payment(card=card))
        log = running.log
    text = log.read_text()
    (record,) = [json.loads(line) for line in text.splitlines()]
    assert record["card_key"] == OLD.card_key(TEST_CARD)
    assert TEST_CARD not in text
    assert TEST_CARD[:8] not in text
