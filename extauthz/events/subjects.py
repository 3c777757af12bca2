"""What the events of a verified SET end, and whose tokens are meant (CAEP 1.0, RISC 1.0, RFC 9493)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from extauthz.events.model import EndedTokens
from extauthz.tokens.claims import MAX_NAME_CHARACTERS, numeric_date

_CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
_RISC = "https://schemas.openid.net/secevent/risc/event-type/"
_LEVEL_CHANGE = f"{_CAEP}assurance-level-change"
ENDING_EVENTS = frozenset(
    {
        _LEVEL_CHANGE,
        f"{_CAEP}session-revoked",
        f"{_CAEP}credential-change",
        f"{_CAEP}token-claims-change",
        f"{_RISC}account-disabled",
        f"{_RISC}account-purged",
        f"{_RISC}account-credential-change-required",
        f"{_RISC}credential-compromise",
        f"{_RISC}sessions-revoked",
    }
)
"""Event types after which tokens of the subject are not to be used; changed claims make them say what was.

All of RISC 1.0 that say that an account is gone or not its owner's alone: an issuer that hears yes for one of them
believes that its tokens are refused. `sessions-revoked` is the old name that many still send.
"""

_COMPLEX_MEMBERS = ("session", "user")
"""Members of a complex subject that are understood, the narrower one first (SSF 1.0, complex subjects)."""

Ends = Literal["sid", "sub", "both"]
"""What is ended where a session and its subject are named: that session, all tokens of the subject, or both."""


def name_of(value: Any) -> str | None:
    """Return a claim that names something, or None when it cannot."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARACTERS else None


def ended_by(event: Any, claims: Mapping[str, Any], ends: Ends) -> tuple[EndedTokens, ...]:
    """Return which tokens one event of a known type ends; nothing when that cannot be read.

    Args:
        event: The member of `events` (RFC 8417 section 2.2).
        claims: The SET's claims, verified; `iss` and `iat` are of the right kind.
        ends: What is asked for of this issuer.
    """
    if not isinstance(event, dict):
        return ()
    ended_at = _time_of(event, claims)
    # Drafts put the subject into the event, SSF 1.0 into the SET. Two that differ would be two readings.
    subjects = [holder[name] for holder, name in ((event, "subject"), (claims, "sub_id")) if name in holder]
    if ended_at is None or not subjects or subjects[0] != subjects[-1]:
        return ()
    ended = _read_subject(subjects[0], claims["iss"], ended_at)
    return () if None in ended else chosen([each for each in ended if each is not None], ends)


def ends_nothing(name: str, event: Any) -> bool:
    """Tell whether an event of a known type is good news: a level that rose (CAEP 1.0, assurance-level-change).

    One that does not say which way it went counts as a fall.
    """
    return name == _LEVEL_CHANGE and isinstance(event, dict) and event.get("change_direction") == "increase"


def as_meant(name: str, ended: tuple[EndedTokens, ...]) -> tuple[EndedTokens, ...]:
    """Return what an event of this type ends: a level that fell leaves the subject's tokens good for the rest.

    A session or a token whose level fell is ended whole, for nothing says what else of it still holds.
    """
    if name != _LEVEL_CHANGE:
        return ended
    return tuple(each._replace(kind="acr") if each.kind == "sub" else each for each in ended)


def chosen(ended: Sequence[EndedTokens], ends: Ends) -> tuple[EndedTokens, ...]:
    """Return which of the things that one event names are to be ended; nothing when what is asked for is not there.

    Args:
        ended: What the event names, the narrower one first.
        ends: What is asked for of this issuer; `sid` takes the subject where no session is named, for then all of
            its sessions are meant (OpenID Connect Back-Channel Logout 1.0 section 2.4).
    """
    if ends == "both":
        return tuple(ended)
    if ends == "sid":
        return tuple(ended[:1])
    return tuple(each for each in ended if each.kind != "sid")


def _time_of(event: Mapping[str, Any], claims: Mapping[str, Any]) -> float | None:
    """Return when the event happened: never after it was told (CAEP 1.0 `event_timestamp`, RFC 8417 `toe`)."""
    told = numeric_date(claims["iat"])
    for holder, name in ((event, "event_timestamp"), (claims, "toe")):
        if name in holder:
            happened = numeric_date(holder[name])
            return None if happened is None or told is None or happened > told else happened
    return told


def _read_subject(subject: Any, issuer: str, ended_at: float) -> list[EndedTokens | None]:
    if not isinstance(subject, dict):
        return []
    if subject.get("format") == "complex":
        members = [subject[name] for name in _COMPLEX_MEMBERS if name in subject]
        return [_read_simple(member, issuer, ended_at) for member in members]
    return [_read_simple(subject, issuer, ended_at)]


def _read_simple(subject: Any, issuer: str, ended_at: float) -> EndedTokens | None:
    """Read a subject identifier (RFC 9493 section 3.2); an issuer speaks for its own tokens alone."""
    if not isinstance(subject, dict):
        return None
    form = subject.get("format")
    if form == "opaque":
        session = name_of(subject.get("id"))
        return None if session is None else EndedTokens("sid", session, ended_at)
    if subject.get("iss") != issuer:
        return None
    if form == "iss_sub":
        name = name_of(subject.get("sub"))
        return None if name is None else EndedTokens("sub", name, ended_at)
    token_id = name_of(subject.get("jti")) if form == "jwt_id" else None
    return None if token_id is None else EndedTokens("jti", token_id, ended_at)
