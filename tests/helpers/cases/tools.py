"""Cases that the policy loader answers: what must not load, with which diagnostic."""

from __future__ import annotations

from helpers.policy_sets import Change

ANOTHER = """\
    moves_money: false
  - operation: other
    method: GET
    path: /v1/{kind}/new
    scopes: [look]
    merchant: {claim: /merchant_id}
    moves_money: false
"""

REFUSED: dict[str, Change] = {
    "wrong-type-fails-load": ("risk.yaml", 'card.country in ["KP"]', 'payment.amount.minor_units <= "x"'),
    "overlapping-rules-are-rejected-at-load": ("routes.yaml", "    moves_money: false\n", ANOTHER),
}
"""Case id to the change of a good set that makes it the case."""
