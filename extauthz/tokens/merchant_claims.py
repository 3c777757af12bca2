"""The merchant that a token belongs to (step 4, authorize): one name, wherever its issuer writes it.

The law: claims that contradict each other name no merchant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from extauthz.tokens.details import Pointer, find_claim, split_pointer
from policy.schema.routes import MerchantBinding


@dataclass(frozen=True, slots=True)
class MerchantClaims:
    """Where tokens name their merchant; of these claims, those that are present must agree."""

    pointers: tuple[Pointer, ...]

    @classmethod
    def compile(cls, binding: MerchantBinding) -> MerchantClaims:
        """Compile the part of an operation."""
        return cls(tuple(split_pointer(text) for text in (binding.claim, *binding.other_claims)))

    def merchant_id(self, claims: Mapping[str, Any]) -> str | None:
        """Return the merchant's id, or None where the claims name none, or more than one, or not as text."""
        named: str | None = None
        for pointer in self.pointers:
            value = find_claim(claims, pointer)
            if value is None:
                continue
            if not isinstance(value, str) or (named is not None and value != named):
                return None
            named = value
        return named
