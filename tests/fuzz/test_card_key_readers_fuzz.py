"""Any bytes in a card key file are a keyring or SecretInvalid; any text in the hand-off is card keys or refused."""

from __future__ import annotations

import base64
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.secret_file import SecretInvalid
from policy.card_keys import MAX_KEY_BYTES, MIN_KEY_BYTES, CardKeyring, is_card_number, read_card_keys_file
from policy.handoff import MAX_CARD_KEYS, read_keyed, write_keyed

KEY_IDS = st.from_regex(r"[a-z0-9-]{1,16}", fullmatch=True)
KEYS = st.binary(min_size=MIN_KEY_BYTES - 2, max_size=MIN_KEY_BYTES + 2)
LINES = st.one_of(
    st.tuples(KEY_IDS, KEYS).map(lambda pair: f"{pair[0]} {base64.b64encode(pair[1]).decode()}"),
    st.text(max_size=80),
    st.just("# a comment"),
)
CARD_KEY = re.compile(r"[a-z0-9-]{1,16}\.[A-Za-z0-9_-]{43}\Z")


@given(st.one_of(st.binary(max_size=400), st.lists(LINES, max_size=4).map(lambda lines: "\n".join(lines).encode())))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_a_keyring_or_invalid_and_no_problem_shows_a_key(tmp_path, content):
    path = tmp_path / "card.keys"
    path.write_bytes(content)
    keyring = _read(str(path))
    if isinstance(keyring, str):
        assert keyring
        assert [word for word in content.split() if len(word) > 20 and word.decode("latin-1") in keyring] == []
        return
    assert 1 <= len(keyring.secrets) <= MAX_CARD_KEYS
    assert len(set(keyring.key_ids)) == len(keyring.secrets)
    assert all(MIN_KEY_BYTES <= len(secret.secret) <= MAX_KEY_BYTES for secret in keyring.secrets)
    keys = keyring.card_keys("4111111111111111")
    assert read_keyed(write_keyed(keys)) == keys


def _read(path: str) -> CardKeyring | str:
    try:
        return read_card_keys_file(path)
    except SecretInvalid as invalid:
        return str(invalid)


@given(st.one_of(st.text(max_size=140), st.from_regex(r"[a-z0-9-]{1,17}\.[A-Za-z0-9_=-]{42,44}(,.*)?", fullmatch=True)))
def test_any_text_is_card_keys_in_their_one_form_or_refused(text):
    keys = read_keyed(text)
    if keys is not None:
        assert write_keyed(keys) == text
        assert len(keys) <= MAX_CARD_KEYS
        assert all(CARD_KEY.match(key) for key in keys)
        assert len({key.partition(".")[0] for key in keys}) == len(keys)


@given(st.text(max_size=24))
def test_what_counts_as_a_card_number_is_plain_digits(text):
    if is_card_number(text):
        assert text.isascii()
        assert text.isdigit()
        assert 12 <= len(text) <= 19
