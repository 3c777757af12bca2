"""Whether a store can be trusted to remember: what it is set up as, and that nobody has emptied it.

Used by `store_link` for those who ask for it. At each connect the store is asked what it is (`StoreFacts`), and each
script call returns the store's epoch, read in the same run as the script itself: no call can pass between an emptied
store and the notice of it. Its law: what is not plainly well is a doubt, and a doubt about the epoch stays until an
operator has accepted the store as it is.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

__all__ = [
    "EPOCH_KEY",
    "UNKNOWN",
    "StoreFacts",
    "StoreStatus",
    "StoreWatch",
    "accept_empty",
    "birth",
    "born_at",
    "read_status",
]

log = logging.getLogger(__name__)

UNKNOWN: Final = "unknown"
EPOCH_KEY: Final = "tollhouse:{epoch}"
ACCEPTANCES_KEY: Final = "tollhouse:{epoch}:acceptances"
"""What operators accepted, newest last: JSON with operator, reason, epoch before and after."""

_EPOCH: Final = re.compile(rb"(born|accepted)-(\d{16})-([0-9a-f]{40})")

# The store's own time orders epochs: the clocks of the machines that ask need not agree. sha1hex of what the store
# alone knows makes two births at different stores different.
_BIRTH: Final = """
local found = redis.call('GET', KEYS[1])
if found then return found end
local time = redis.call('TIME')
local epoch = string.format('born-%016.0f-%s', tonumber(time[1]) * 1000000 + tonumber(time[2]), redis.sha1hex(ARGV[1]))
if ARGV[2] == 'write' then redis.call('SET', KEYS[1], epoch) end
return epoch
"""
_ACCEPT: Final = """
local time = redis.call('TIME')
local epoch = string.format('accepted-%016.0f-%s', tonumber(time[1]) * 1000000 + tonumber(time[2]),
  redis.sha1hex(ARGV[1]))
local before = redis.call('GET', KEYS[1]) or ''
local record = cjson.encode({operator = ARGV[2], reason = ARGV[3], before = before, epoch = epoch})
redis.call('SET', KEYS[1], epoch)
redis.call('RPUSH', KEYS[2], record)
redis.call('LTRIM', KEYS[2], -1000, -1)
return record
"""
# The script sees KEYS as it would without us. The epoch comes second in the reply, after the sequence number.
_WRAPPED: Final = """
local epoch = redis.call('GET', table.remove(KEYS, 1)) or ''
local reply = (function()
%s
end)()
table.insert(reply, 2, epoch)
return reply
"""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store says about itself; `unknown` where it does not say (its user may not ask).

    Attributes:
        server: Name and version.
        role: `master`, `slave` or unknown.
        eviction: Its `maxmemory-policy`.
        persistence: `aof`, `rdb`, `aof+rdb`, `none` or unknown.
        replicas: Replicas that are connected, as digits, or unknown.
    """

    server: str = UNKNOWN
    role: str = UNKNOWN
    eviction: str = UNKNOWN
    persistence: str = UNKNOWN
    replicas: str = UNKNOWN


class StoreWatch:
    """Remembers one store's epoch over all connections of a process; belongs to one event loop.

    Args:
        seed: A random text; makes the epoch of a store that this process is the first to see.
        is_forgetful: The store may lose everything (one lone process and a store that ends with it): its epoch is
            not judged.
        key: Where the epoch is; empty: only facts are asked for.
    """

    def __init__(self, seed: str, *, is_forgetful: bool = False, key: str = EPOCH_KEY) -> None:
        self.seed = seed
        self.key = key
        self.is_forgetful = is_forgetful
        self._remembered = b""
        self.lost = ""
        self.facts = StoreFacts()
        self._eviction_doubt = ""  # asked before the first call

    @property
    def doubt(self) -> str:
        """Why what must not be forgotten cannot be counted here, a fixed text; empty when nothing speaks against it."""
        return self.lost or self._eviction_doubt

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know, doubts first."""
        doubts = tuple(filter(None, (self.lost, self._eviction_doubt)))
        if self.facts.persistence in ("none", UNKNOWN) and not self.is_forgetful:
            return (
                *doubts,
                f"persistence of the store: {self.facts.persistence}; what it loses counts from zero again",
            )
        return doubts

    def wrap(self, text: str) -> str:
        """Return a script that does what `text` does and reports the epoch; `key` comes first in its KEYS."""
        return _WRAPPED % text

    async def inspect(self, connection: Any) -> None:
        """Ask a fresh connection; before the first script call.

        Raises:
            RedisError: The connection broke, or the store refuses to tell or take an epoch.
            ValueError: The store is a replica: what it is told would be lost, or refused.
        """
        self.facts = await _read_facts(connection)
        if self.facts.role == "slave":
            raise ValueError("the store is a replica")
        self._eviction_doubt = _eviction_doubt(self.facts.eviction)
        if not self.key:
            return
        # Only who has never seen this store may give it an epoch: to everyone else a missing one means it was emptied.
        if self._remembered or self.lost:
            await connection.send_command("GET", self.key)
        else:
            await connection.send_command("EVAL", _BIRTH, 1, self.key, self.seed, "write")
        self.see(await connection.read_response(disable_decoding=True) or b"")

    def see(self, found: Any) -> None:
        """Judge the epoch that came with a reply, before anybody gets the reply."""
        if found == self._remembered and found:
            return
        if self.is_forgetful:
            return
        matched = _EPOCH.fullmatch(found) if type(found) is bytes else None
        if matched is None:
            self._lose(
                "the store was emptied: it has no epoch" if not found else "the store's epoch is not of our making"
            )
        elif not (self._remembered or self.lost) or _is_acceptance(matched, self._remembered):
            log.warning("store_epoch_taken: %s", matched.group(1).decode())
            self._remembered, self.lost = found, ""
        else:
            self._lose("the store was emptied: its epoch is another one")

    def _lose(self, why: str) -> None:
        if self.lost != why:
            log.error("store_epoch_lost: %s; amounts wait for `tollhouse store accept-empty`", why)
            self.lost = why


def born_at(epoch: bytes) -> float:
    """Return when an epoch was written, seconds since 1970 by the store's clock; 0 for what is none of ours."""
    matched = _EPOCH.fullmatch(epoch)
    return int(matched.group(2)) / 1_000_000 if matched is not None else 0.0


def _is_acceptance(found: re.Match[bytes], remembered: bytes) -> bool:
    """Tell whether an operator has accepted the store since; an older acceptance is a backup that came back."""
    known = _EPOCH.fullmatch(remembered)
    return found.group(1) == b"accepted" and (known is None or found.group(2) > known.group(2))


def _eviction_doubt(policy: str) -> str:
    if policy == "noeviction":
        return ""
    if policy == UNKNOWN:
        return "the store does not say whether it evicts; its user needs INFO"
    return "the store evicts: its maxmemory-policy must be noeviction"


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What an operator is told about a store.

    Attributes:
        facts: What it says about itself.
        epoch: Its epoch, empty without one.
        accepted: The last acceptance as JSON, empty without one.
        doubt: Why amounts would not be counted in it; a running service may know more: which epoch it remembers.
    """

    facts: StoreFacts
    epoch: str
    accepted: str
    doubt: str


async def read_status(connection: Any) -> StoreStatus:
    """Look at a store and change nothing; raises RedisError when the connection breaks."""
    facts = await _read_facts(connection)
    epoch = await _ask(connection, "GET", EPOCH_KEY)
    accepted = await _ask(connection, "LINDEX", ACCEPTANCES_KEY, -1)
    return StoreStatus(facts, _text(epoch), _text(accepted), _eviction_doubt(facts.eviction))


def _text(answer: Any) -> str:
    return answer.decode("utf-8", "replace") if type(answer) is bytes else ""


async def _read_facts(connection: Any) -> StoreFacts:
    answer = await _ask(connection, "INFO")
    said = _read_info(answer) if type(answer) is bytes else {}
    name = "valkey" if "valkey_version" in said else "redis"
    version = said.get("valkey_version", said.get("redis_version"))
    return StoreFacts(
        server=f"{name} {version}" if version else UNKNOWN,
        role=said.get("role", UNKNOWN),
        eviction=said.get("maxmemory_policy", UNKNOWN),
        persistence=_persistence(said.get("aof_enabled"), await _ask(connection, "CONFIG", "GET", "save")),
        replicas=said.get("connected_slaves", UNKNOWN),
    )


async def birth(connection: Any, seed: str, *, is_written: bool = True) -> bytes:
    """Return the store's epoch, or else a new one that is written if asked; raises RedisError."""
    await connection.send_command("EVAL", _BIRTH, 1, EPOCH_KEY, seed, "write" if is_written else "")
    epoch: bytes = await connection.read_response(disable_decoding=True)
    return epoch


async def accept_empty(connection: Any, seed: str, operator: str, reason: str) -> dict[str, str]:
    """Accept a store as it is; return the record that was written into it.

    Raises:
        RedisError: Nothing is known to be written.
    """
    await connection.send_command("EVAL", _ACCEPT, 2, EPOCH_KEY, ACCEPTANCES_KEY, seed, operator, reason)
    record: dict[str, str] = json.loads(await connection.read_response(disable_decoding=True))
    return record


async def _ask(connection: Any, *command: str | int) -> Any:
    """Return the answer, None where the store refuses to give one."""
    await connection.send_command(*command)
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError:
        return None


def _read_info(answer: bytes) -> dict[str, str]:
    lines = answer.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _persistence(aof: str | None, saves: Any) -> str:
    has_saves = saves[1] not in (b"", b'""') if type(saves) is list and len(saves) == 2 else None
    if aof is None or (has_saves is None and aof != "1"):
        return UNKNOWN
    return "+".join(name for name, is_on in (("aof", aof == "1"), ("rdb", has_saves)) if is_on) or "none"
