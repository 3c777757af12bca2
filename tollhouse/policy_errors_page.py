"""Writes docs/policy-errors.md from the diagnostic codes."""

from __future__ import annotations

import sys
from pathlib import Path

from policy.codes import CODES


def policy_errors_page() -> str:
    """Return the page as Markdown, one heading (and so one anchor) a code."""
    lines = [
        "# What `tollhouse check` says",
        "",
        "Generated from `policy/codes.py` by `scripts/docs`; do not edit.",
        "",
        "Every line is `file:line:column: CODE message`. A set with an error is never served: at start the service",
        "refuses to run, at a reload the last good set stays in force. A warning keeps nothing from loading.",
    ]
    for code, spec in CODES.items():
        lines += [
            "",
            f"## {code}",
            "",
            f"{spec.title[0].upper()}{spec.title[1:]}.",
            "",
            f"- Avoid: {spec.avoid}",
            f"- Prefer: {spec.prefer}",
            f"- Why: {spec.why}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(policy_errors_page(), "utf-8")
