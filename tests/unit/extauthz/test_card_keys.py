"""A card number becomes a keyed hash; a card key file is taken whole or refused without a word of its keys."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from chassis.secret_file import SecretInvalid
from extauthz.server import KeyringLog
from helpers.cards import NEW, OLD, TEST_CARD, key_line, write_card_keys_file
from policy.card_keys import CardKeyFile, CardKeyring, CardSecret, is_card_number, read_card_keys_file
from policy.handoff import read_keyed, write_keyed

KEY = base64.b64encode(bytes(range(7, 39))).decode()


def test_card_key_is_the_hmac_of_the_digits_under_the_key_id():
    mac = hmac.new(OLD.secret, TEST_CARD.encode(), hashlib.sha256).digest()
    assert OLD.card_key(TEST_CARD) == "k1." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def test_hand_off_reads_what_a_keyring_writes():
    both = CardKeyring((NEW, OLD)).card_keys(TEST_CARD)
    assert [key.partition(".")[0] for key in both] == ["k2", "k1"]
    assert read_keyed(write_keyed(both)) == both
    assert read_keyed(write_keyed(())) == ()


@pytest.mark.parametrize(
    ("before", "after", "is_loosened"),
    [
        ((OLD,), (NEW, OLD), False),
        ((NEW, OLD), (OLD, NEW), False),
        ((NEW, OLD), (NEW,), False),
        ((NEW, OLD), (OLD,), False),
        ((OLD,), (NEW,), True),
        ((OLD,), (CardSecret("k1", NEW.secret),), True),
        ((OLD,), (CardSecret("k2", OLD.secret),), True),
    ],
    ids=["rotated", "order swapped", "dropped", "rolled back", "replaced", "an id used again", "a secret renamed"],
)
def test_keys_replaced_all_at_once_are_told_as_a_loosening(caplog, before, after, is_loosened):
    caplog.set_level("INFO")
    told = KeyringLog()
    told.tell(CardKeyring(before))
    told.tell(CardKeyring(after))
    assert ("each card counts from nothing" in caplog.text) is is_loosened
    assert f"current first: {after[0].key_id}" in caplog.messages[1]


def test_no_text_of_a_keyring_shows_a_secret():
    text = repr(CardKeyring((OLD, NEW)))
    assert "k1" in text
    assert base64.b64encode(OLD.secret).decode() not in text
    assert repr(OLD.secret) not in text


def test_file_with_comments_and_two_keys_is_read_in_order(tmp_path):
    path = tmp_path / "card.keys"
    path.write_text(f"# current\n{key_line(NEW)}\n  # the one it replaces\n{key_line(OLD)}")
    assert read_card_keys_file(str(path)) == CardKeyring((NEW, OLD))
    assert CardKeyFile(str(path)).read().key_ids == ("k2", "k1")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param("# nothing\n", ": holds no key", id="comments alone"),
        pytest.param("", ": is empty", id="empty"),
        pytest.param(f"{KEY}\n", ":1: expected a key id and a base64 key", id="no key id"),
        pytest.param(f"K1 {KEY}\n", ":1: the key id must be", id="a capital letter"),
        pytest.param(f"{'k' * 17} {KEY}\n", ":1: the key id must be", id="a long key id"),
        pytest.param(f"k1 {KEY[:-1]}\n", ":1: the key is not base64", id="no padding"),
        pytest.param("k1 c2hvcnQ=\n", ":1: the key must have 32", id="a short key"),
        pytest.param(f"k1 {base64.b64encode(b'x' * 32).decode()}\n", ":1: the key is not random", id="not random"),
        pytest.param(f"k1 {KEY} more\n", ":1: expected", id="three words"),
        pytest.param(f"k1 {KEY}\nk1 {key_line(OLD).split()[1]}\n", ":2: this key id stands", id="an id twice"),
        pytest.param(f"k1 {KEY}\nk2 {KEY}\n", ":2: this key stands", id="a key twice"),
        pytest.param(f"{key_line(OLD)}{key_line(NEW)}k3 {KEY}\n", ":3: at most 2 keys", id="three keys"),
        pytest.param(f"k1 {KEY}\u00a0\n", ": holds characters beyond ASCII", id="a blank beyond ASCII"),
    ],
)
def test_broken_file_is_refused_with_its_line_and_without_its_keys(tmp_path, content, problem):
    path = tmp_path / "card.keys"
    path.write_text(content, "utf-8")
    with pytest.raises(SecretInvalid) as caught:
        read_card_keys_file(str(path))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{path}{problem}")
    assert KEY[:20] not in str(caught.value)


def test_every_broken_line_is_named_in_one_run(tmp_path):
    path = tmp_path / "card.keys"
    path.write_text(f"one\nk1 {KEY}\nk1 short\n")
    with pytest.raises(SecretInvalid) as caught:
        read_card_keys_file(str(path))
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["1", "3"]


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("missing", "No such file"), ("directory", "is no plain file"), ("long", "is longer than"), ("nul", "cannot be")],
)
def test_what_is_no_secret_file_is_refused(tmp_path, kind, problem):
    path = tmp_path / "card.keys"
    if kind == "directory":
        path.mkdir()
    elif kind == "long":
        path.write_bytes(b"#" * 70_000)
    with pytest.raises(SecretInvalid, match=problem):
        read_card_keys_file(f"{path}\0" if kind == "nul" else str(path))


def test_file_that_everybody_may_read_is_warned_of(tmp_path):
    path = write_card_keys_file(tmp_path / "card.keys")
    assert CardKeyFile(str(path)).warnings() == ()
    path.chmod(0o644)
    assert "can be read by every user" in CardKeyFile(str(path)).warnings()[0]
    assert CardKeyFile("").warnings() == ()


def test_fingerprint_follows_the_file_and_never_fails(tmp_path):
    path = tmp_path / "card.keys"
    file = CardKeyFile(str(path))
    seen = {file.fingerprint()}
    write_card_keys_file(path)
    seen.add(file.fingerprint())
    write_card_keys_file(path, NEW, OLD)
    seen.add(file.fingerprint())
    assert len(seen) == 3
    assert CardKeyFile("").fingerprint() == ""


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (TEST_CARD, True),
        ("6304000000000000", True),
        ("4111111111111112", False),
        ("4111 1111 1111 1111", False),
        ("4111-1111-1111-1111", False),
        ("04111111111111111", False),
        ("41111111111", False),
        ("41111111111111111111", False),
        ("٤111111111111111", False),
        ("4111111111111111\n", False),
        ("", False),
    ],
)
def test_card_number_has_one_spelling(text, is_one):
    assert is_card_number(text) is is_one
