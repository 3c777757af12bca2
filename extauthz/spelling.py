"""One spelling: member names and texts of a body that some readers take for others.

Used by the body reader alone. Its law: what a lenient upstream folds into a name or a value that a rule
compares (letter case, composed letters, invisible characters) is refused, not passed by as something else.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from policy.handoff import SUB_MERCHANT

_INDEX = re.compile(r"(0|[1-9][0-9]{0,3})\Z")
# Code points that str.isprintable lets pass though nothing is seen of them: Unicode's
# Default_Ignorable_Code_Point outside category Cf, and the blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_WORD = r"[a-z][a-z0-9_-]{0,63}\Z"
_SHAPES: Final[Mapping[str, re.Pattern[str]]] = {
    "card.bin": re.compile(r"[0-9]{6,8}\Z"),
    "card.last4": re.compile(r"[0-9]{4}\Z"),
    "card.funding": re.compile(_WORD),
    "card.brand": re.compile(_WORD),
    "payment.initiator": re.compile(r"(?:cit|mit)\Z"),
    "payment.method": re.compile(_WORD),
    "merchant.sub_id": SUB_MERCHANT,
}
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_PLAIN_TEXT = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?\Z")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PLAIN_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}\Z")


@dataclass(slots=True)
class MemberNames:
    """The member names that a profile's pointers go through, as a tree.

    Attributes:
        members: Name to what lies below it.
        folded: The names without letter case, as readers such as Go's encoding/json compare them.
        places: Numbers of the pointers that end here.
    """

    members: dict[str, MemberNames] = field(default_factory=dict)
    folded: frozenset[str] = frozenset()
    places: tuple[int, ...] = ()

    @classmethod
    def of(cls, pointers: Iterable[tuple[str, ...]]) -> MemberNames:
        """Build the tree from JSON Pointer tokens."""
        root = cls()
        for place, pointer in enumerate(pointers):
            node = root
            for token in pointer:
                child = node.members.get(token)
                if child is None:
                    child = node.members[token] = cls()
                    node.folded |= {token.casefold()}
                node = child
            node.places = (*node.places, place)
        return root

    def is_respelled(self, value: Any, found: dict[int, Any]) -> bool:
        """Tell whether a member stands in `value` that a lenient reader takes for one of these names.

        The member need not be there twice: alone it would be read by the upstream and by no rule.

        Args:
            value: Any JSON value.
            found: Takes what stands where a pointer leads through objects alone, by the pointer's number: this walk
                comes by there anyway. What is not in it once False is returned may be in a list, or nowhere.
        """
        if isinstance(value, dict):
            return self._is_object_respelled(value, found)
        if isinstance(value, list):
            return any(
                child.is_respelled(value[int(token)], {})
                for token, child in self.members.items()
                if _INDEX.match(token) and int(token) < len(value)
            )
        return False

    def _is_object_respelled(self, value: dict[str, Any], found: dict[int, Any]) -> bool:
        # A loop, not any(...): a generator for each object doubles the cost of this walk over every body.
        for name, part in value.items():
            child = self.members.get(name)
            if child is None:
                if self._is_respelling(name):
                    return True
                continue
            for place in child.places:
                found[place] = part
            if child.members and child.is_respelled(part, found):
                return True
        return False

    def _is_respelling(self, name: str) -> bool:
        # A control character ends the name for readers that keep it as a C string.
        return name.casefold() in self.folded or (bool(self.folded) and not name.isprintable())


def plain_spelling(attribute: str) -> re.Pattern[str]:
    """Return a pattern for the common texts that are spelled as `attribute` must be.

    Whatever it matches, `is_one_spelling` accepts, and it is no longer than 256 characters; what it does not match
    may be right all the same. One match costs a fifth of asking question by question.
    """
    if attribute == "payer.ip":
        return _PLAIN_IPV4
    return _COUNTRY if attribute.endswith(".country") else _SHAPES.get(attribute, _PLAIN_TEXT)


def is_one_spelling(attribute: str, text: str) -> bool:
    """Tell whether `text` is how the value of `attribute` is spelled, and the only way to spell it.

    Args:
        attribute: Dotted name (protos/attributes.proto).
        text: Not empty, of allowed length.
    """
    if not text.isprintable() or text != text.strip(" "):
        return False
    if not text.isascii() and (_INVISIBLE.search(text) or not unicodedata.is_normalized("NFC", text)):
        return False
    if attribute == "payer.ip":
        return _is_canonical_address(text)
    shape = _COUNTRY if attribute.endswith(".country") else _SHAPES.get(attribute)
    return shape is None or shape.match(text) is not None


def _is_canonical_address(text: str) -> bool:
    """RFC 5952: an address has one text; an IPv4 address in IPv6 form is a second one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.scope_id):
        return False
    return str(address) == text
