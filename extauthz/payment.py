"""Reads a payment out of a request body, strictly, into the attributes that rules may use.

Called by `authorize`, so only for a caller whose token was verified. Its law: what the upstream might
read in another way is refused, and nothing that is missing turns into a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict
from extauthz.model import AuthzRequest, Deny
from extauthz.reasons import Reason
from extauthz.spelling import MemberNames, is_one_spelling, plain_spelling
from policy.card_keys import CardKeyring, is_card_number
from policy.money import MAX_AMOUNT_MINOR, minor_unit_exponent
from policy.schema.profiles import AttributeSource, Profile

AMOUNT: Final = "payment.amount.minor_units"
CURRENCY: Final = "payment.amount.currency"
MERCHANT: Final = "merchant.id"
CARD_BIN: Final = "card.bin"
CARD_LAST4: Final = "card.last4"
BODY_LIMITS: Final = JsonLimits(max_bytes=65_536, max_depth=16)
MAX_TEXT_LENGTH: Final = 256  # code points of one text attribute

_CONTENT_TYPE = re.compile(r'application/json[ \t]*(;[ \t]*charset=("utf-8"|utf-8)[ \t]*)?\Z', re.IGNORECASE)
_INDEX = re.compile(r"(0|[1-9][0-9]{0,3})\Z")

_MISSING: Final = object()
_WRONG_SHAPE: Final = object()


_Check = Callable[[str, Any], Deny | None]


@dataclass(frozen=True, slots=True)
class _Field:
    """One attribute of the profile.

    Attributes:
        attribute: Dotted name.
        pointer: Where it stands in the body.
        is_required: Its absence refuses the request.
        plain: Texts that need no `check`, the common ones; None where the value is no plain text.
        check: Says what is wrong with any value.
    """

    attribute: str
    pointer: tuple[str, ...]
    is_required: bool
    plain: re.Pattern[str] | None
    check: _Check

    @classmethod
    def of(cls, attribute: str, source: AttributeSource, *, moves_money: bool) -> _Field:
        is_required = source.required or (moves_money and attribute in (AMOUNT, CURRENCY, MERCHANT))
        check = _CHECKS.get(attribute)
        if check is not None:
            return cls(attribute, _pointer(source.pointer), is_required, None, check)
        return cls(attribute, _pointer(source.pointer), is_required, plain_spelling(attribute), _text_refusal)


@dataclass(frozen=True, slots=True)
class _Card:
    """Where the card number stands, and what takes its place."""

    pointer: tuple[str, ...]
    is_required: bool
    keyring: CardKeyring

    @classmethod
    def of(cls, source: AttributeSource, keyring: CardKeyring | None) -> _Card:
        if keyring is None:
            raise ValueError("a profile reads card numbers, and there is no key to hash them with")
        return cls(_pointer(source.pointer), source.required, keyring)

    def read(self, document: dict[str, Any], attributes: Mapping[str, Any]) -> tuple[str, ...] | Deny:
        value = _find(document, self.pointer)
        if value is _MISSING and not self.is_required:
            return ()
        # The denials carry fixed text: what stands in this place is a card number, or somebody meant it to be.
        if not isinstance(value, str) or not is_card_number(value):
            return Deny(Reason.CARD_NUMBER_INVALID)
        # Rules read these parts and the upstream reads the number: parts of another one would dodge the rules.
        if not (value.startswith(attributes.get(CARD_BIN, "")) and value.endswith(attributes.get(CARD_LAST4, ""))):
            return Deny(Reason.ATTRIBUTE_INVALID, detail="card.bin or card.last4 is not of the card number")
        return self.keyring.card_keys(value)


class Payment(NamedTuple):
    """What was read out of a body.

    Attributes:
        attributes: Attribute name to value (int or str), for rules; what the body lacks is left out.
        card_keys: Keyed hashes of the card number, the current key's first; empty without a card. The number
            itself leaves `BodyReader.read` in no form.
    """

    attributes: dict[str, Any]
    card_keys: tuple[str, ...] = ()


class BodyReader:
    """One profile compiled: a request body in, a payment or a denial out."""

    def __init__(self, profile: Profile, *, moves_money: bool, keyring: CardKeyring | None = None) -> None:
        """Compile a profile.

        Args:
            profile: Which JSON pointer leads to which attribute.
            moves_money: Amount, currency and merchant are then required whatever the profile says.
            keyring: Hashes card numbers; needed for a profile that reads them.

        Raises:
            ValueError: The profile reads card numbers and there is no keyring.
        """
        self._fields = tuple(
            _Field.of(name, source, moves_money=moves_money) for name, source in profile.attributes.items()
        )
        self._card = None if profile.card_number is None else _Card.of(profile.card_number, keyring)
        card_pointer = () if self._card is None else (self._card.pointer,)
        self._names = MemberNames.of((*(field.pointer for field in self._fields), *card_pointer))

    def read(self, request: AuthzRequest) -> Payment | Deny:
        """Read one body; nothing of it is kept beyond what is returned."""
        if request.body_is_partial:
            return _unreadable("the body was cut off")
        if not _CONTENT_TYPE.match(request.headers.get("content-type", "")):
            return _unreadable("content-type is not application/json in UTF-8")
        if request.headers.get("content-encoding", "identity") != "identity":
            return _unreadable("the body is encoded")
        try:
            document = parse_strict(request.body, BODY_LIMITS)
        except StrictJsonError as error:
            return _unreadable(str(error))
        if not isinstance(document, dict):
            return _unreadable("the body is not one JSON object")
        found: dict[int, Any] = {}
        if self._names.is_respelled(document, found):
            return _unreadable("a member that readers without letter case take for another")
        attributes = self._extract(document, found)
        if isinstance(attributes, Deny) or self._card is None:
            return attributes if isinstance(attributes, Deny) else Payment(attributes)
        card_keys = self._card.read(document, attributes)
        return card_keys if isinstance(card_keys, Deny) else Payment(attributes, card_keys)

    def _extract(self, document: dict[str, Any], found: dict[int, Any]) -> dict[str, Any] | Deny:
        attributes: dict[str, Any] = {}
        for place, field in enumerate(self._fields):
            value = found.get(place)
            if value is None:
                value = _find(document, field.pointer)
            if type(value) is not str or field.plain is None or not field.plain.match(value):
                if value is _MISSING and not field.is_required:
                    continue
                refusal = field.check(field.attribute, value)
                if refusal is not None:
                    return refusal
            attributes[field.attribute] = value
        return attributes


def _unreadable(detail: str) -> Deny:
    return Deny(Reason.BODY_UNREADABLE, detail=detail)


def _pointer(text: str) -> tuple[str, ...]:
    """Split a JSON Pointer (RFC 6901 section 3)."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def _find(document: Any, pointer: tuple[str, ...]) -> Any:
    value = document
    for token in pointer:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list) and _INDEX.match(token):
            value = value[int(token)] if int(token) < len(value) else None
        else:
            return _WRONG_SHAPE
        if value is None:
            return _MISSING  # null says "no value" and is treated as absent
    return value


def _amount_refusal(attribute: str, value: Any) -> Deny | None:
    if value is _MISSING:
        return Deny(Reason.AMOUNT_MISSING)
    # bool is a subclass of int; a number written with fraction or exponent arrives as Decimal.
    if type(value) is not int or not 0 <= value <= MAX_AMOUNT_MINOR:
        return Deny(Reason.AMOUNT_INVALID, detail=f"{attribute} is not an integer of minor units in range")
    return None


def _currency_refusal(_attribute: str, value: Any) -> Deny | None:
    if not isinstance(value, str) or minor_unit_exponent(value) is None:
        return Deny(Reason.CURRENCY_INVALID)
    return None


def _text_refusal(attribute: str, value: Any) -> Deny | None:
    if value is _MISSING:
        return Deny(Reason.ATTRIBUTE_INVALID, detail=f"{attribute} is required and absent")
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT_LENGTH:
        return Deny(Reason.ATTRIBUTE_INVALID, detail=f"{attribute} is not text of allowed length")
    # A rule compares text exactly, so a value in another spelling would slip past it.
    if not is_one_spelling(attribute, value):
        return Deny(Reason.ATTRIBUTE_INVALID, detail=f"{attribute} is not in its one spelling")
    return None


_CHECKS: Final[Mapping[str, _Check]] = {
    AMOUNT: _amount_refusal,
    CURRENCY: _currency_refusal,
}
