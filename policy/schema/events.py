"""The part of a provider about what its issuer tells of itself: logouts, and security events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import FileModel

Receiver = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Events(FileModel):
    """Which events of an issuer are taken on the listener --events, and what they end."""

    audiences: tuple[Receiver, ...] = Field(
        min_length=1,
        max_length=10,
        description="How the issuer names this receiver in `aud`; an event must name one of these.",
    )
    transports: tuple[Literal["logout", "push"], ...] = Field(
        min_length=1,
        description="logout: OpenID Connect back-channel logout; push: security event tokens (RFC 8935).",
    )
    logout_ends: Literal["sid", "sub", "both"] = Field(
        "both",
        description=(
            "What is ended where an event names a session and its subject: that session, all tokens of the subject "
            "that were issued before, or both. `sid` needs access tokens that carry a sid."
        ),
    )
