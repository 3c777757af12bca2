"""Writes docs/configuration.md from the table of settings, so that page, help and behaviour cannot differ."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from chassis.admin_access import MIN_TOKEN_CHARACTERS
from policy.card_keys import MAX_KEY_BYTES, MIN_KEY_BYTES
from policy.handoff import MAX_CARD_KEYS
from tollhouse.options import SETTINGS
from tollhouse.setting import REQUIRED, Setting

GATE_STORE_RULES: Final = (
    "~tollhouse:* +evalsha +script|load +select +time +get +set +exists +hget +hset +hsetnx +hdel +hexists +hlen +zadd "
    "+zscore +zrem +zrangebyscore +info +role +wait"
)
"""What extauthz' user of the store may do, where it keeps used proofs and revoked tokens (Redis ACL rules)."""
STORE_RULES: Final = (
    "~tollhouse:* +evalsha +script|load +select +time +get +set +del +exists +type +expire +hget +hmget +hgetall +hset "
    "+hdel +zadd +zcard +zcount +zscore +zrem +zrange +zremrangebyscore +eval +info +role +wait +cluster|slots"
)
"""What the limiter's user of the store may do (Redis ACL rules)."""

_HEAD: Final = """\
# Configuration

Generated from `tollhouse/options.py` by `scripts/docs`; do not edit.

For operators: every setting of `tollhouse serve`, its environment variable, its default, and which values are safe.
What merchants may do is no setting; it is in the policy set (docs/policy-guide.md).

An option wins over its variable. Secrets are never in options or variables: both name files. A `TOLLHOUSE_` variable
that is no setting is warned of at start, with the name that was probably meant, and ignored. One that is set and empty
keeps the service from starting. `--insecure-listen` has no variable: a consent stands in the command, where a reviewer
sees it. The variables of the other service's settings are refused like its options, so each service gets an environment
of its own.
"""

_SECRETS: Final = f"""
## Secret files

All of them: a plain file (links are followed) that the service's user may read, mode 600, or 640 with a group. A file
that every user of the machine may read is warned of on /readyz. A file that is missing, empty or malformed keeps the
service from starting. Errors name the file and the line, never what stands there.

| file | holds | a change counts |
|---|---|---|
| `TOLLHOUSE_CARD_KEY_FILE` | a line a key: `<key id> <base64>`; `#` lines are comments | within 15 seconds |
| `TOLLHOUSE_STORE_PASSWORD_FILE` | the password in one line | at the next connect |
| `TOLLHOUSE_ADMIN_TOKEN_FILE` | the token in one line | at the next request |
| `TOLLHOUSE_EVENTS_PUSH_TOKEN_FILE` | the token in one line | at the next event |
| files in `TOLLHOUSE_CLIENT_CREDENTIALS_DIR` | a secret in one line, or PEM | within 15 seconds |
| `TOLLHOUSE_TLS_KEY`, `TOLLHOUSE_TLS_CERT`, `TOLLHOUSE_TLS_CLIENT_CA` | PEM | within seconds |
| `TOLLHOUSE_EVENTS_TLS_KEY`, `TOLLHOUSE_EVENTS_TLS_CERT` | PEM | within seconds |

A card key file that breaks while the service runs leaves the last good keys in force and is told like a broken policy
set, in the log, in a metric and on /policy; a broken policy set in turn holds up a changed key file. A broken admin
token lets nobody in, and a broken token of senders no event. A broken store password keeps the open connection, and
lets no new one be made.

### The card key file

Key id: 1 to 16 small letters, digits or hyphens; it is public and travels in front of each card key. Key:
{MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes, base64 with padding. At most {MAX_CARD_KEYS} keys; the first one is the
current one.

    tollhouse card-key new card.keys       # one fresh key, mode 600; prints the key id alone

Only extauthz needs it, and only for what is kept as a keyed hash: `card_number` in a profile, a quota per payer, device
or ip, `idempotency` with mode `upstream_enforced`. Without it such a policy set is refused (P044). It replaces the
number by `<key id>.<HMAC-SHA-256>` as the body is read; the limiter counts by that text. Whoever has the
file can find numbers to hashes by trying, so it is kept like the numbers themselves. All replicas need the same file.

### Rotate the card key

While two keys are in the file, a card's quota counts under both and is over when either is, so no card starts anew and
no order of replicas lets more through.

1. `tollhouse card-key rotate card.keys` puts a fresh key before the current one. Bring the file to all replicas; each
   logs `card keys in force` with both ids once it has taken it.
2. Wait until a new window of every quota per card, payer, device or ip has begun after the last replica took the file:
   for daily quotas the next midnight of every merchant, 25 hours at most.
3. `tollhouse card-key drop card.keys` takes the old key out. Bring the file to all replicas.

Dropped earlier, the old key takes its counts with it: a card then gets what is left under the new key alone. What
makes a repeated payment is hashed with the older key: a repeat across the drop is counted again. A key
that may be known to others is rotated and dropped at once, and the day's card counts start anew. To go back after a
drop is a rotation like any other. A file that keeps no key of before, or uses a key id again for another key, is a
drop at once as well; the log then says `card keys loosen`.

### The admin token

{MIN_TOKEN_CHARACTERS} or more letters, digits or `._~+/-`, in one line:

    (umask 077; python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > admin.token)

With it every page but /healthz and /readyz asks for `Authorization: Bearer <token>` and answers 401 without. Off
loopback the pages use the certificate of `--tls-cert`, and follow it when it is renewed. Without one the token crosses
the network in clear, which is warned of at start and on /readyz.

### The store's password

`--store` with a password in it is refused: the process list shows options to every user of the machine. Give the store
users what the services need and nothing else:

    ACL SETUSER limiter on >PASSWORD {STORE_RULES}
    ACL SETUSER gate on >PASSWORD {GATE_STORE_RULES}

INFO says whether the store evicts counters; a limiter that may not ask counts no amounts. Whether the store keeps its
data stands in CONFIG, which shows secrets too: without it `/readyz` says that persistence is unknown.

To change the password, add the new one in the store, replace the file, then take the old one out of the store.
"""


def configuration_page() -> str:
    """Return the page as Markdown: a chapter a group of settings, then the secret files."""
    lines = [_HEAD]
    for chapter, settings in SETTINGS.items():
        lines += [f"## {chapter}", ""]
        for setting in settings:
            lines += _setting(setting)
    return "\n".join(lines).rstrip("\n") + "\n" + _SECRETS


def _setting(setting: Setting) -> list[str]:
    facts = [
        f"- Variable: {f'`{setting.variable}`' if setting.variable else 'none'}",
        f"- Default: {_default(setting)}",
    ]
    if setting.service:
        facts.append(f"- Service: {setting.service} alone")
    if setting.bounds is not None:
        low, high = setting.bounds
        facts.append(f"- Accepted: {low} to {high} {setting.unit.lower()}")
    name = f"`{setting.flag}`" if not setting.unit else f"`{setting.flag} {setting.unit}`"
    return [f"### {name}", "", setting.help, "", *facts, f"- Safe: {setting.advice}", ""]


def _default(setting: Setting) -> str:
    if setting.default is REQUIRED:
        return "none, it must be given"
    if setting.default in (None, "", False):
        return "not set"
    unit = f" {setting.unit.lower()}" if setting.bounds is not None else ""
    return f"`{setting.default}`{unit}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(configuration_page(), "utf-8")
