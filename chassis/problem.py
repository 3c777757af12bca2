"""Problem details (RFC 9457): the one way a refusal is written down for a client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ReasonSpec:
    """What a reason code means; docs/errors.md is generated from these.

    Attributes:
        code: Stable public name, such as `merchant_suspended`.
        http_status: The status the client sees.
        title: One fixed sentence for the client (RFC 9457 section 3.1.3).
        cause: What led to it, for the docs.
        action: What the merchant's developer should do, for the docs.
        retry: `never`, `after_change` or `later`.
    """

    code: str
    http_status: int
    title: str
    cause: str
    action: str
    retry: str


class ReasonEnum(Enum):
    """Base of a service's reasons: each member's value is its `ReasonSpec`."""

    @property
    def spec(self) -> ReasonSpec:
        """Return status, title and documentation of this reason."""
        spec: ReasonSpec = self.value
        return spec

    @property
    def code(self) -> str:
        """Return the public code."""
        return self.spec.code


def problem_type(base_uri: str, code: str) -> str:
    """Return the problem `type`: a page of ours with one anchor per reason."""
    return f"{base_uri}#{code}"


def problem_body(
    spec: ReasonSpec, *, base_uri: str, decision_id: str, extensions: dict[str, Any] | None = None
) -> bytes:
    """Render one problem as JSON bytes (RFC 9457 section 3).

    Args:
        spec: The reason.
        base_uri: Where docs/errors.md is published; `type` points into it.
        decision_id: Goes into `instance` as a URN and into `decision_id`.
        extensions: Further members; never rule ids, thresholds or claim values.
    """
    return orjson.dumps(
        {
            "type": problem_type(base_uri, spec.code),
            "title": spec.title,
            "status": spec.http_status,
            "reason": spec.code,
            "decision_id": decision_id,
            "instance": f"urn:tollhouse:decision:{decision_id}",
            **(extensions or {}),
        }
    )
