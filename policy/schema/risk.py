"""risk.yaml: rules over payment attributes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import FileModel, Identifier, Text
from policy.schema.routes import StepUp


class Rule(FileModel):
    """One rule, a CEL expression of type bool."""

    id: Identifier
    owner: Text
    mode: Literal["enforce", "shadow"]
    action: Literal["decline", "step_up", "review"]
    step_up: StepUp | None = Field(None, description="With action step_up: what the payment then takes.")
    operations: tuple[Identifier, ...] = Field((), description="Empty: every operation that moves money.")
    when: Annotated[str, StringConstraints(min_length=1, max_length=4000)] = Field(
        description="CEL over the attributes of protos/attributes.proto."
    )
    on_missing: Literal["match", "skip"] = Field(
        "match", description="What an attribute that the payment lacks means: match (the rule fires) or skip."
    )
    reason: Text = Field(description="For people and records; the client is never told.")


class RiskFile(FileModel):
    """All rules; order has no meaning, the strictest action wins."""

    rules: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()
