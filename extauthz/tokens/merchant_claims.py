"""The merchant that a token belongs to (step 4, authorize): one name, wherever its issuer writes it.

The law: claims that contradict each other name no merchant. Where policy lets the body pick, it picks among the
names that the token lists and adds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extauthz.tokens.details import Pointer, find_claim, split_pointer
from policy.schema.routes import MerchantBinding

MAX_MERCHANTS: Final = 100
"""Names of one claim; a longer list names no merchant."""


@dataclass(frozen=True, slots=True)
class MerchantClaims:
    """Where tokens name their merchant; of these claims, those that are present must agree.

    Attributes:
        pointers: Where.
        takes_several: A claim may be a list; the body then picks one of its names.
    """

    pointers: tuple[Pointer, ...]
    takes_several: bool = False

    @classmethod
    def compile(cls, binding: MerchantBinding) -> MerchantClaims:
        """Compile the part of an operation."""
        pointers = tuple(split_pointer(text) for text in (binding.claim, *binding.other_claims))
        return cls(pointers, binding.several == "body_picks")

    def merchant_ids(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return the merchants that the token is for: none, one, or several where policy takes several."""
        if self.takes_several:
            return self._listed(claims)
        named = self.merchant_id(claims)
        return frozenset() if named is None else frozenset((named,))

    def _listed(self, claims: Mapping[str, Any]) -> frozenset[str]:
        present = [value for pointer in self.pointers if (value := find_claim(claims, pointer)) is not None]
        named = {_names(value) for value in present}
        return named.pop() if len(named) == 1 else frozenset()

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


def _names(value: Any) -> frozenset[str]:
    """Return one text or a list of texts as names; anything else names nobody."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > MAX_MERCHANTS:
        return frozenset()
    return frozenset(names) if all(isinstance(name, str) for name in names) else frozenset()
