"""The part of providers.yaml about tokens that are called back before they expire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policy.schema.base import FileModel, Integer


class Revocation(FileModel):
    """That revoked tokens are refused, and what happens while nobody can tell which they are."""

    max_staleness_seconds: Annotated[Integer, Field(ge=1, le=300)] = Field(
        5, description="How old the list of revoked tokens may be; it is read from --store four times a second."
    )
    stale_refuses: Literal["money", "all"] = Field(
        "money",
        description="What is answered with 503 while the list is older: operations that move money, or all.",
    )
