"""Whether the token's `authorization_details` (RFC 9396) authorize exactly this payment.

Called by `authorize` once the body was read. Its law: one member of the list must say everything that policy asks
for and say it of this payment; what a member leaves out, or says in another type, it does not grant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from extauthz.model import Challenge, Deny, Principal
from extauthz.reasons import Reason
from policy.attributes import AMOUNT, CURRENCY
from policy.money import minor_unit_exponent
from policy.schema.routes import AuthorizationDetails

MAX_DETAILS: Final = 100
"""Members that are looked at; a longer list grants nothing."""

_PARTS: Final = ("type", "actions", "locations", "amount or currency", "creditor")
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,8})?\Z")

Pointer = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaymentGrant:
    """What one operation asks of `authorization_details`.

    Attributes:
        type: The only type that grants anything.
        actions: All must be in `actions`.
        locations: Names of this API.
        needs_location: `locations` must be there; else it is looked at only where it is.
        amount: Where the decimal amount stands in a member.
        currency: Where its currency stands.
        creditor: Payment attribute, and where the member says the same.
    """

    type: str
    actions: frozenset[str]
    locations: frozenset[str]
    needs_location: bool
    amount: Pointer
    currency: Pointer
    creditor: tuple[tuple[str, Pointer], ...]

    @classmethod
    def compile(cls, policy: AuthorizationDetails | None, audiences: frozenset[str]) -> PaymentGrant | None:
        """Compile the part of an operation, if it has one.

        Args:
            policy: From routes.yaml.
            audiences: Names of this API that tokens are issued for; what `locations` means without names in policy.
        """
        if policy is None:
            return None
        return cls(
            type=policy.type,
            actions=frozenset(policy.actions),
            locations=frozenset(policy.locations) or audiences,
            needs_location=bool(policy.locations),
            amount=split_pointer(policy.amount),
            currency=split_pointer(policy.currency),
            creditor=tuple((name, split_pointer(pointer)) for name, pointer in policy.creditor.items()),
        )

    def refusal(self, principal: Principal, payment: Mapping[str, Any]) -> Deny | None:
        """Refuse a payment that no member of the token's `authorization_details` authorizes (RFC 9396 section 9).

        Args:
            principal: The caller.
            payment: Attributes read from the body.
        """
        details = principal.claims.get("authorization_details")
        listed = details if isinstance(details, list) and len(details) <= MAX_DETAILS else ()
        nearest = 0
        for detail in listed:
            agreed = self._agreed(detail, payment) if isinstance(detail, Mapping) else 0
            if agreed == len(_PARTS):
                return None
            nearest = max(nearest, agreed)
        reason = Reason.AUTHORIZATION_DETAILS_INSUFFICIENT
        challenge = Challenge("insufficient_scope", reason.spec.title)
        # Of the member that came nearest, so that an operator sees what is amiss; the client is not told.
        return Deny(reason, challenge, f"no authorization detail grants this payment: {_PARTS[nearest]} differs")

    def _agreed(self, detail: Mapping[str, Any], payment: Mapping[str, Any]) -> int:
        """Return how many of `_PARTS`, in their order, say this payment; all of them grant it."""
        agrees = (
            detail.get("type") == self.type,
            _names(detail.get("actions")) >= self.actions,
            self._is_for_us(detail),
            self._is_amount(detail, payment),
            self._is_creditor(detail, payment),
        )
        return next((index for index, does_agree in enumerate(agrees) if not does_agree), len(agrees))

    def _is_for_us(self, detail: Mapping[str, Any]) -> bool:
        """Compare locations (RFC 9396 section 2.2), exact names."""
        if "locations" not in detail:
            return not self.needs_location
        return not _names(detail["locations"]).isdisjoint(self.locations)

    def _is_amount(self, detail: Mapping[str, Any], payment: Mapping[str, Any]) -> bool:
        """Compare as decimals of one currency: 123.5 is 123.50, and one minor unit more is another payment."""
        currency = payment.get(CURRENCY)
        amount, granted = payment.get(AMOUNT), _decimal(find_claim(detail, self.amount))
        if type(amount) is not int or not isinstance(currency, str) or granted is None:
            return False
        exponent = minor_unit_exponent(currency)
        if exponent is None or find_claim(detail, self.currency) != currency:
            return False
        return Decimal(amount).scaleb(-exponent) == granted

    def _is_creditor(self, detail: Mapping[str, Any], payment: Mapping[str, Any]) -> bool:
        for attribute, pointer in self.creditor:
            paid = payment.get(attribute)
            granted = find_claim(detail, pointer)
            if paid is None or type(paid) is not type(granted) or paid != granted:
                return False
        return True


def split_pointer(text: str) -> Pointer:
    """Split a JSON Pointer that policy has checked (RFC 6901 section 3)."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def find_claim(document: Any, pointer: Pointer) -> Any:
    """Return what stands there, through objects alone; None when nothing does."""
    for token in pointer:
        document = document.get(token) if isinstance(document, Mapping) else None
    return document


def _names(value: Any) -> frozenset[str]:
    """Return a list of texts; anything else names nothing."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return frozenset()
    return frozenset(value)


def _decimal(value: Any) -> Decimal | None:
    """Read an amount in whole units: text of plain digits, or a JSON number; never rounded."""
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.match(value) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value)
