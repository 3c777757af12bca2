"""profiles/*.yaml: how to read a payment out of a body."""

from __future__ import annotations

from pydantic import Field

from policy.schema.base import Boolean, ClaimPointer, FileModel, Identifier


class AttributeSource(FileModel):
    """Where one attribute stands in the body."""

    pointer: ClaimPointer = Field(description="JSON Pointer (RFC 6901).")
    required: Boolean = Field(False, description="Refuse the body (400) when it is not there.")


class Profile(FileModel):
    """A body shape. Only JSON so far."""

    profile: Identifier
    attributes: dict[str, AttributeSource] = Field(
        min_length=1, description="Attribute name of protos/attributes.proto to its source."
    )
    card_number: AttributeSource | None = Field(
        None,
        description="Where the full card number stands. It is replaced by a keyed hash as it is read, for quotas with "
        "`per: card`; no rule, log or record sees it. Needs a card key file.",
    )
