"""Believes logout tokens and security event tokens, or refuses them.

Its law: nothing of an event is used before its signature is verified with a key of a configured issuer, and what
is known but cannot be read is refused, so that a sender never hears that tokens were ended when none were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from chassis.clock import Clock
from extauthz.events.model import EndedTokens, EventFault, EventRefused, ReceivedEvent
from extauthz.events.subjects import ENDING_EVENTS, Ends, as_meant, chosen, ended_by, ends_nothing, name_of
from extauthz.model import Deny, Unavailable
from extauthz.tokens.claims import MAX_AUDIENCES, numeric_date
from extauthz.tokens.jose import CompactToken, parse_compact
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.providers import CompiledProvider
from extauthz.tokens.verify import canonical_algorithm, is_signature_valid

MAX_EVENT_CHARACTERS: Final = 16_384
MAX_EVENTS: Final = 20
"""In one SET; each type stands once."""

_LOGOUT_TYPES = frozenset({"logout+jwt", "application/logout+jwt"})
_SET_TYPES = frozenset({"secevent+jwt", "application/secevent+jwt"})
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

Outcome = ReceivedEvent | EventRefused | Unavailable
Transport = Literal["logout", "push"]


class EventSource(NamedTuple):
    """A token issuer whose events are taken.

    Attributes:
        provider: Its keys, algorithms and leeway.
        audiences: One of them must be in `aud`: how this receiver is known to the issuer.
        transports: Which of the two ways it may use.
        ends: What is ended where an event names a session and its subject.
    """

    provider: CompiledProvider
    audiences: frozenset[str]
    transports: frozenset[str]
    ends: Ends


class EventReader:
    """Reads events under one policy snapshot.

    Args:
        sources: Whose events are taken, each issuer once.
        keys: The process-wide key sets, following these issuers.
        clock: Wall time for `iat` and `exp`.
    """

    def __init__(self, sources: tuple[EventSource, ...], keys: KeySets, clock: Clock) -> None:
        self._by_issuer = {source.provider.issuer: source for source in sources}
        self._keys = keys
        self._clock = clock

    async def read_logout(self, text: str, deadline: float) -> Outcome:
        """Read a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6).

        Args:
            text: The form field `logout_token`.
            deadline: On `Clock.monotonic()`; a fetch of keys is not waited for beyond it.
        """
        return await self._read(text, deadline, _Kind("logout", _LOGOUT_TYPES, _logout))

    async def read_set(self, text: str, deadline: float) -> Outcome:
        """Read a security event token (RFC 8417, delivered as RFC 8935 says).

        Args:
            text: The body.
            deadline: On `Clock.monotonic()`; a fetch of keys is not waited for beyond it.
        """
        return await self._read(text, deadline, _Kind("push", _SET_TYPES, _security_event))

    async def _read(self, text: str, deadline: float, kind: _Kind) -> Outcome:
        parsed = _parsed(text, kind.token_types)
        if isinstance(parsed, EventRefused):
            return parsed
        source = self._source(parsed, kind.transport)
        if isinstance(source, EventRefused):
            return source
        fault = await self._signature_fault(parsed, source.provider, deadline)
        if fault is not None:
            return fault
        refusal = self._claims_fault(parsed.claims, source)
        return kind.understand(parsed.claims, source.ends) if refusal is None else refusal

    def _source(self, parsed: CompactToken, transport: Transport) -> EventSource | EventRefused:
        """Find the sender by exact `iss`; of an unknown one nothing is fetched."""
        issuer = parsed.claims.get("iss")
        source = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if source is None:
            return EventRefused(EventFault.INVALID_ISSUER, "iss is not one whose events are taken")
        if transport not in source.transports:
            return EventRefused(EventFault.ACCESS_DENIED, "events of this issuer are not taken here")
        if canonical_algorithm(parsed.algorithm) not in source.provider.algorithms:
            return EventRefused(EventFault.INVALID_KEY, "alg not accepted")
        return source

    async def _signature_fault(
        self, parsed: CompactToken, provider: CompiledProvider, deadline: float
    ) -> EventRefused | Unavailable | None:
        algorithm = canonical_algorithm(parsed.algorithm)
        found = await self._keys.find(provider, parsed.kid, algorithm, deadline)
        if isinstance(found, Unavailable):
            return found
        if isinstance(found, Deny):
            return EventRefused(EventFault.INVALID_KEY, "no key of the issuer fits")
        if not is_signature_valid(algorithm, found.key.public_key, parsed.signing_input, parsed.signature):
            return EventRefused(EventFault.INVALID_KEY, "signature does not verify")
        return None

    def _claims_fault(self, claims: Mapping[str, Any], source: EventSource) -> EventRefused | None:
        """Check what both kinds have (RFC 8417 section 2.2, RFC 7519 section 4.1)."""
        now, leeway = self._clock.wall(), source.provider.leeway_seconds
        audience = claims.get("aud")
        names = [audience] if isinstance(audience, str) else audience
        if not isinstance(names, list) or len(names) > MAX_AUDIENCES or not _all_text(names):
            return EventRefused(EventFault.INVALID_AUDIENCE, "aud cannot be read")
        if source.audiences.isdisjoint(names):
            return EventRefused(EventFault.INVALID_AUDIENCE, "aud is another receiver")
        issued_at = numeric_date(claims.get("iat"))
        if issued_at is None or issued_at > now + leeway:
            return _malformed("iat is missing, no NumericDate, or lies ahead")
        if "exp" in claims:
            expires_at = numeric_date(claims["exp"])
            if expires_at is None or now >= expires_at + leeway:
                return _malformed("exp is no NumericDate or has passed")
        if name_of(claims.get("jti")) is None:
            return _malformed("jti is missing or not text")
        events = claims.get("events")
        is_readable = isinstance(events, dict) and 0 < len(events) <= MAX_EVENTS
        return None if is_readable else _malformed("events cannot be read")


class _Kind(NamedTuple):
    """One of the two kinds of events."""

    transport: Transport
    token_types: frozenset[str]
    understand: Callable[[Mapping[str, Any], Ends], ReceivedEvent | EventRefused]


def _parsed(text: str, token_types: frozenset[str]) -> CompactToken | EventRefused:
    if not text.isascii() or len(text) > MAX_EVENT_CHARACTERS:
        return _malformed("not a token, or too long")
    parsed = parse_compact(text)
    if isinstance(parsed, Deny):
        return _malformed("not a token that can be read")
    return parsed if parsed.token_type in token_types else _malformed("typ is another kind of token")


def _logout(claims: Mapping[str, Any], ends: Ends) -> ReceivedEvent | EventRefused:
    """Read what only logout tokens have; a session, where one is named, is narrower than its subject."""
    if "exp" not in claims:
        return _malformed("exp is missing")
    if "nonce" in claims:
        return _malformed("nonce stands in ID tokens alone")
    if not isinstance(claims["events"].get(_LOGOUT_EVENT), dict):
        return _malformed("events does not say logout")
    kinds: tuple[Literal["sid", "sub"], ...] = ("sid", "sub")
    named = [(kind, name_of(claims[kind])) for kind in kinds if kind in claims]
    ended = [EndedTokens(kind, name, float(claims["iat"])) for kind, name in named if name is not None]
    if not ended or len(ended) < len(named):
        return _malformed("neither sid nor sub names what is ended")
    taken = chosen(ended, ends)
    if not taken:
        return _malformed("sub does not say whose tokens are ended, and sessions are not told apart here")
    return ReceivedEvent(claims["iss"], claims["jti"], taken)


def _security_event(claims: Mapping[str, Any], ends: Ends) -> ReceivedEvent | EventRefused:
    known = [(name, event) for name, event in claims["events"].items() if name in ENDING_EVENTS]
    bad = [(name, event) for name, event in known if not ends_nothing(name, event)]
    ended = [as_meant(name, ended_by(event, claims, ends)) for name, event in bad]
    if not all(ended):
        return _malformed("the subject or the time of an event cannot be read")
    every = tuple(dict.fromkeys(each for of_event in ended for each in of_event))
    return ReceivedEvent(claims["iss"], claims["jti"], every, len(claims["events"]) - len(known))


def _all_text(names: list[Any]) -> bool:
    return all(isinstance(name, str) for name in names)


def _malformed(detail: str) -> EventRefused:
    return EventRefused(EventFault.INVALID_REQUEST, detail)
