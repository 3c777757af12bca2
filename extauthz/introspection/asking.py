"""Asks token issuers about tokens; one a process, it outlives policy sets.

Its law: one question a token at a time, however many requests wait for it; a bounded number of questions at once,
beyond which there is no verdict; answers are kept for as long as policy says, and judged anew whenever they are used.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from chassis.clock import Clock
from chassis.http_client import FetchFailed, HttpClient
from chassis.ids import Ids
from extauthz.introspection.clients import IssuerClient
from extauthz.introspection.replies import (
    JSON_TYPE,
    MAX_REPLY_BYTES,
    SIGNED_TYPE,
    ReplyInvalid,
    check_signed_algorithm,
    read_json_reply,
    read_signed_reply,
    signed_members,
)
from extauthz.model import Deny, Unavailable
from extauthz.reasons import Reason
from extauthz.tokens.claims import numeric_date
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.providers import CompiledProvider
from extauthz.tokens.verify import is_signature_valid

MAX_QUESTIONS: Final = 64
"""To one issuer at once; an issuer that hangs takes no place of another one's."""
MAX_ANSWERS: Final = 10_000
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""Of all replies that answers are kept of: what was read takes several times that."""
FRESH_SECONDS: Final = 2.0
"""Oldest answer where the issuer's word of now is demanded; no question may take longer, so all who wait share one."""
_QUIET_SECONDS: Final = 10.0
"""Between two lines of the log about one issuer that does not answer: it is asked hundreds of times a second."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom we ask, as one policy set says; compared when a kept answer is used again.

    Attributes:
        provider: The issuer.
        client: Our credentials.
        is_signed: A signed reply is demanded.
        timeout_seconds: Longest wait.
        cache_seconds: How long an answer is kept.
    """

    provider: CompiledProvider
    client: IssuerClient
    is_signed: bool
    timeout_seconds: float
    cache_seconds: float


@dataclass(frozen=True, slots=True)
class IssuerAnswer:
    """What an issuer said of one token.

    Attributes:
        asked: Whom.
        members: Of the reply.
        asked_at: When the question went out, on the monotonic clock.
        size: Of the reply, bytes.
    """

    asked: Asked
    members: Mapping[str, Any]
    asked_at: float
    size: int


class Introspector:
    """Asks, and keeps answers.

    Attributes:
        questions: How many were sent, by provider.
        failures: How many of them brought no usable answer.
    """

    def __init__(self, http: HttpClient, keys: KeySets, clock: Clock, ids: Ids) -> None:
        """Wire it; `http` and `keys` are started and stopped by the service."""
        self._http = http
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._answers: OrderedDict[bytes, IssuerAnswer] = OrderedDict()
        self._size = 0
        self._questions: dict[tuple[bytes, str], asyncio.Task[IssuerAnswer | None]] = {}
        self._told_at: dict[str, float] = {}
        self.questions: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    async def ask(
        self, asked: Asked, token: str, deadline: float, *, is_fresh: bool = False
    ) -> IssuerAnswer | Unavailable:
        """Return what the issuer says of a token.

        Args:
            asked: Whom.
            token: As presented, ASCII.
            deadline: On `Clock.monotonic()`; nobody waits beyond it.
            is_fresh: An answer older than `FRESH_SECONDS` will not do, however long policy keeps others.
        """
        digest = sha256(token.encode("ascii")).digest()
        kept = self._kept(asked, digest, FRESH_SECONDS if is_fresh else asked.cache_seconds)
        if kept is not None:
            return kept
        task = self._questions.get((digest, asked.provider.id))
        if task is None:
            if sum(provider == asked.provider.id for _, provider in self._questions) >= MAX_QUESTIONS:
                return _unavailable("too many questions at once")
            task = asyncio.create_task(self._question(asked, token, digest), name="introspection")
            self._questions[digest, asked.provider.id] = task
        done, _ = await asyncio.wait({task}, timeout=max(0.0, deadline - self._clock.monotonic()))
        answer = task.result() if done and not task.cancelled() else None
        if answer is None or answer.asked != asked:
            return _unavailable("no answer in time")
        return answer

    async def start(self) -> None:
        """Do nothing: a question is asked when there is one."""

    async def stop(self) -> None:
        """End every question; whoever waits has no verdict."""
        tasks = list(self._questions.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _kept(self, asked: Asked, digest: bytes, seconds: float) -> IssuerAnswer | None:
        answer = self._answers.get(digest)
        if answer is None or answer.asked != asked:
            return None
        if self._clock.monotonic() >= answer.asked_at + seconds:
            return None
        # RFC 7662 section 4: never past `exp`, not even by the leeway: the issuer has another answer now.
        expires_at = numeric_date(answer.members.get("exp"))
        return answer if expires_at is None or self._clock.wall() < expires_at else None

    async def _question(self, asked: Asked, token: str, digest: bytes) -> IssuerAnswer | None:
        began = self._clock.monotonic()
        self.questions[asked.provider.id] += 1
        try:
            members, size = await self._members(asked, token)
        except (FetchFailed, ReplyInvalid) as error:
            self._failed(asked, str(error))
            return None
        except Exception as error:
            self._failed(asked, f"a fault of the gate ({type(error).__name__})")
            log.debug("introspection_crashed", exc_info=True)
            return None
        finally:
            self._questions.pop((digest, asked.provider.id), None)
        answer = IssuerAnswer(asked, members, began, size)
        self._keep(digest, answer)
        return answer

    def _keep(self, digest: bytes, answer: IssuerAnswer) -> None:
        known = self._answers.pop(digest, None)
        self._size += answer.size - (0 if known is None else known.size)
        self._answers[digest] = answer
        while len(self._answers) > MAX_ANSWERS or self._size > MAX_ANSWER_BYTES:
            _, oldest = self._answers.popitem(last=False)
            self._size -= oldest.size

    def _failed(self, asked: Asked, reason: str) -> None:
        provider, now = asked.provider.id, self._clock.monotonic()
        self.failures[provider] += 1
        if now >= self._told_at.get(provider, -math.inf) + _QUIET_SECONDS:
            self._told_at[provider] = now
            log.warning(
                "introspection_failed provider=%s reason=%s failures=%d", provider, reason, self.failures[provider]
            )

    async def _members(self, asked: Asked, token: str) -> tuple[Mapping[str, Any], int]:
        form = asked.client.form(token, SIGNED_TYPE if asked.is_signed else JSON_TYPE, self._clock, self._ids)
        deadline = self._clock.monotonic() + asked.timeout_seconds
        reply = await self._http.post(
            asked.client.endpoint,
            form,
            max_bytes=MAX_REPLY_BYTES,
            timeout_seconds=asked.timeout_seconds,
            reach=asked.provider.source.reach,
        )
        if not asked.is_signed:
            return read_json_reply(reply), len(reply.body)
        parsed = read_signed_reply(reply)
        algorithm = check_signed_algorithm(parsed, asked.provider)
        found = await self._keys.find(asked.provider, parsed.kid, algorithm, deadline)
        if isinstance(found, Deny | Unavailable):
            raise ReplyInvalid("no key for its signature")
        if not is_signature_valid(algorithm, found.key.public_key, parsed.signing_input, parsed.signature):
            raise ReplyInvalid("signature does not verify")
        members = signed_members(parsed, asked.provider, asked.client.client_id, self._clock.wall())
        return members, len(reply.body)


def _unavailable(detail: str) -> Unavailable:
    return Unavailable(Reason.INTROSPECTION_UNAVAILABLE, detail=detail)
