"""What quotas count by is handed over as keyed hashes, and only what they count by."""

from __future__ import annotations

import pytest

from extauthz.subjects import Subjects, network_of
from helpers.cards import NEW, OLD, TEST_CARD
from policy.card_keys import CardKeyring
from policy.handoff import SUB_MERCHANT, read_keyed
from policy.schema.quotas import QuotasFile

BOTH = CardKeyring((NEW, OLD))
PAYMENT = {"payer.id": "p-77", "device.id": "p-77", "payer.ip": "2001:db8:1:2:3::4", "merchant.sub_id": "s_1"}


def subjects(*per: str, keyring: CardKeyring | None = BOTH, operation: str = "pay") -> Subjects:
    quota = {"id": "q", "owner": "risk", "metric": "count", "interval": "daily", "operations": ("pay",), "limit": 1}
    return Subjects.compile(QuotasFile(quotas=({**quota, "per": ("merchant", *per)},)), operation, keyring)


def test_what_no_quota_counts_by_is_not_looked_for():
    entries = subjects().entries(PAYMENT)
    assert entries == dict.fromkeys(("sub_merchant", "payer", "device", "ip"), "unread")
    assert subjects("payer", operation="other").entries(PAYMENT) == entries


def test_values_travel_as_hashes_under_both_keys_and_never_as_they_are():
    entries = subjects("payer", "device", "ip").entries(PAYMENT)
    for name in ("payer", "device", "ip"):
        keys = read_keyed(entries[name])
        assert keys is not None
        assert [key.partition(".")[0] for key in keys] == [NEW.key_id, OLD.key_id]
        assert "p-77" not in entries[name]
    assert entries["payer"] != entries["device"], "equal texts of different meaning are different"
    assert entries["sub_merchant"] == "unread"


def test_payer_who_calls_himself_like_a_card_is_not_that_card():
    assert NEW.value_key("payer", TEST_CARD) != NEW.card_key(TEST_CARD)
    assert NEW.digest("a", "b", "c") != NEW.digest("a", "bc", "")


def test_sub_merchant_travels_as_it_is_and_what_the_body_lacks_is_none():
    assert subjects("sub_merchant").entries(PAYMENT)["sub_merchant"] == "s_1"
    assert subjects("sub_merchant", "payer").entries({}) == {
        "sub_merchant": "none",
        "payer": "none",
        "device": "unread",
        "ip": "unread",
    }


@pytest.mark.parametrize("word", ["none", "absent", "unread", "", "a b", "a\n", "x" * 65])
def test_word_of_the_contract_is_no_sub_merchant(word: str):
    assert SUB_MERCHANT.match(word) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("2001:db8:1:2::", "2001:db8:1:2::/64")],
)
def test_address_counts_as_what_one_subscriber_has(address: str, network: str):
    assert network_of(address) == network


def test_no_key_no_hash():
    with pytest.raises(ValueError, match="no key"):
        subjects("payer", keyring=None)
    assert subjects("sub_merchant", keyring=None).entries(PAYMENT)["sub_merchant"] == "s_1"
