"""Card keys for tests: two secrets that protect nothing, and the public test card numbers."""

from __future__ import annotations

import base64
from pathlib import Path

from policy.card_keys import CardKeyring, CardSecret

TEST_CARD = "4111111111111111"
OTHER_CARD = "5555555555554444"

OLD = CardSecret("k1", bytes(range(32)))
NEW = CardSecret("k2", bytes(range(100, 132)))
KEYRING = CardKeyring((OLD,))


def key_line(secret: CardSecret) -> str:
    """Return the line of a card key file."""
    return f"{secret.key_id} {base64.b64encode(secret.secret).decode()}\n"


def write_card_keys_file(path: Path, *secrets: CardSecret) -> Path:
    """Write a card key file that its owner alone may read; the old key alone unless others are named."""
    path.write_text("".join(key_line(secret) for secret in secrets or (OLD,)))
    path.chmod(0o600)
    return path
