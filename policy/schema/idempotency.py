"""routes.yaml, `idempotency`: the key under which a client may send a payment again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import FileModel, Integer

HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]


class Idempotency(FileModel):
    """What an operation says about idempotency keys; without it they are not looked at."""

    mode: Literal["optional", "required", "upstream_enforced"] = Field(
        description="optional: a malformed key is refused; required: a missing one too; upstream_enforced: as "
        "required, and the upstream carries out one payment per key, so a repeat is counted once. Where it does not, "
        "a client could send many payments on one key past the quotas."
    )
    header: HeaderName = Field("idempotency-key", description="In small letters; its value bare or quoted (RFC 9651).")
    max_length: Annotated[Integer, Field(ge=16, le=255)] = Field(255, description="Characters, quotes included.")
