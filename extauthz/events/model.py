"""What an event says once it is believed, and how one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from chassis.no_truth import NoTruth


class EventFault(Enum):
    """Error codes of SET delivery (RFC 8935 section 2.4)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_KEY = "invalid_key"
    INVALID_ISSUER = "invalid_issuer"
    INVALID_AUDIENCE = "invalid_audience"
    AUTHENTICATION_FAILED = "authentication_failed"
    ACCESS_DENIED = "access_denied"


class EndedTokens(NamedTuple):
    """Which tokens of an issuer are to be refused from now on.

    Attributes:
        kind: `jti`: one token; `sid`: those of a session; `sub`: those of a subject; `acr`: those of a subject, where
            an operation asks how the user authenticated.
        value: The claim.
        ended_at: When, seconds since 1970; of a subject, tokens issued before it are meant.
    """

    kind: Literal["jti", "sid", "sub", "acr"]
    value: str
    ended_at: float


@dataclass(frozen=True, slots=True)
class ReceivedEvent(NoTruth):
    """A verified event.

    Attributes:
        token_issuer: Who sent it.
        jti: Its name; with the issuer, what a repetition is known by.
        ended: Which tokens it ends; empty when it says nothing that is known here.
        unknown_types: How many of its event types are not known here.
    """

    token_issuer: str
    jti: str
    ended: tuple[EndedTokens, ...]
    unknown_types: int = 0


@dataclass(frozen=True, slots=True)
class EventRefused(NoTruth):
    """The event is not believed; the same bytes will not be believed later.

    Attributes:
        fault: Told to the sender.
        detail: Told to the sender; a fixed text.
    """

    fault: EventFault
    detail: str


@dataclass(frozen=True, slots=True)
class EventPostponed(NoTruth):
    """The event could not be put into force; sent again later it may be.

    Attributes:
        detail: A fixed text, for the operator.
        retry_after_seconds: Told to the sender.
    """

    detail: str
    retry_after_seconds: int = 5
