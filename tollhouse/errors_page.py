"""Writes docs/errors.md from the reason enums: the page that problem `type` links point into."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import extauthz.reasons
import ratelimit.reasons
from chassis.problem import ReasonSpec
from tollhouse.gateway_reasons import ACCESS_TOKEN, GATEWAY_REASONS

_RETRY = {
    "never": "No.",
    "after_change": "Only after the request, the token or the policy was changed.",
    "later": "Yes, after Retry-After, with the same idempotency key.",
}


def errors_page() -> str:
    """Return the page as Markdown, one heading (and so one anchor) a reason."""
    lines = [
        "# Errors",
        "",
        "Generated from the reason enums by `scripts/docs`; do not edit.",
        "",
        "Every refusal is a problem (RFC 9457, `application/problem+json`) with `type`, `title`, `status`, `reason`,",
        "`instance` and, where one of our services decided, `decision_id`. Match on `reason`; the texts may change.",
        "Quote the decision id (or the request id) when you ask about a refusal.",
    ]
    lines += _chapter("Answered by extauthz", (reason.spec for reason in extauthz.reasons.Reason))
    lines += _chapter("Answered by ratelimit", (reason.spec for reason in ratelimit.reasons.Reason))
    lines += _chapter("Answered by Envoy itself", (*GATEWAY_REASONS, ACCESS_TOKEN))
    return "\n".join(lines) + "\n"


def _chapter(title: str, specs: Iterable[ReasonSpec]) -> list[str]:
    lines = ["", f"## {title}"]
    for spec in specs:
        lines += [
            "",
            # An explicit anchor: not every renderer makes the same one from a heading with an underscore.
            f'<a id="{spec.code}"></a>',
            "",
            f"### {spec.code}",
            "",
            f"{spec.http_status}: {spec.title}",
            "",
            f"- Cause: {spec.cause}",
            f"- What to do: {spec.action}",
            f"- Retry: {_RETRY[spec.retry]}",
        ]
    return lines


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(errors_page())
