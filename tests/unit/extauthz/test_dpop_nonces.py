"""Nonces: known by whoever has the key, for two stretches of time."""

from __future__ import annotations

import pytest

from chassis.secret_file import SecretInvalid
from extauthz.tokens.nonces import NONCE_SECONDS, DpopNonces, NonceAge, NonceKeyFile
from helpers.cards import write_card_keys_file

NOW = 1_700_000_040.0  # the start of a stretch
NONCES = DpopNonces((bytes(range(32)),))
OTHER = DpopNonces((bytes(range(1, 33)),))


def test_nonce_is_current_then_lapsing_then_unknown():
    assert NOW % NONCE_SECONDS == 0
    nonce = NONCES.issue(NOW)
    ages = [NONCES.age(nonce, NOW + seconds) for seconds in (0, 59.9, 60, 119.9, 120, 10_000)]
    unknown = NonceAge.UNKNOWN
    assert ages == [NonceAge.CURRENT, NonceAge.CURRENT, NonceAge.LAPSING, NonceAge.LAPSING, unknown, unknown]


def test_replica_whose_clock_is_behind_knows_the_nonce():
    assert NONCES.age(NONCES.issue(NOW), NOW - 1) is NonceAge.CURRENT
    assert NONCES.age(NONCES.issue(NOW), NOW - 61) is NonceAge.UNKNOWN


def test_nonce_of_another_key_is_unknown_until_the_key_is_in_force():
    nonce = OTHER.issue(NOW)
    assert NONCES.age(nonce, NOW) is NonceAge.UNKNOWN
    both = DpopNonces((*NONCES.secrets, *OTHER.secrets))
    assert both.age(nonce, NOW) is NonceAge.CURRENT
    assert both.issue(NOW) == NONCES.issue(NOW)


@pytest.mark.parametrize("index", range(len(NONCES.issue(NOW))))
def test_changed_nonce_is_unknown(index):
    nonce = NONCES.issue(NOW)
    changed = nonce[:index] + ("A" if nonce[index] != "A" else "B") + nonce[index + 1 :]
    assert NONCES.age(changed, NOW) is NonceAge.UNKNOWN


@pytest.mark.parametrize("nonce", [None, "", "x", "é", "A" * 32, "A" * 100_000, NONCES.issue(NOW) + "A"])
def test_what_is_no_nonce_is_unknown(nonce):
    assert NONCES.age(nonce, NOW) is NonceAge.UNKNOWN


def test_secret_is_in_no_text():
    assert "x01" not in repr(NONCES)


def test_key_file(tmp_path):
    assert NonceKeyFile("").read() is None
    assert (NonceKeyFile("").fingerprint(), NonceKeyFile("").warnings()) == ("", ())
    file = NonceKeyFile(str(write_card_keys_file(tmp_path / "nonce.keys")))
    nonces = file.read()
    assert nonces.age(nonces.issue(NOW), NOW) is NonceAge.CURRENT
    with pytest.raises(SecretInvalid):
        NonceKeyFile(str(tmp_path / "absent")).read()
