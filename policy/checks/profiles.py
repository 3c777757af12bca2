"""profiles/*.yaml: attributes that exist and that a body may set."""

from __future__ import annotations

from policy.attributes import attribute_catalogue
from policy.checks.common import check_pointer
from policy.diagnostics import quote
from policy.parts import Parts
from policy.schema.profiles import Profile


def check_profiles(parts: Parts) -> None:
    """Add every problem of the body profiles."""
    catalogue = attribute_catalogue()
    settable = [name for name, attribute in catalogue.items() if attribute.is_from_body]
    first_files: dict[str, str] = {}
    for file, profile in parts.profiles().items():
        if profile.profile in first_files:
            message = f"profile {quote(profile.profile)} is also in {first_files[profile.profile]}"
            parts.add(file, ("profile",), "P040", message)
        first_files.setdefault(profile.profile, file)
        for name, source in profile.attributes.items():
            if name not in catalogue:
                message = f"unknown attribute {quote(name)}{parts.problems.hint(name, settable)}"
                parts.add_at_key(file, ("attributes", name), "P041", message)
            elif name not in settable:
                message = f"attribute {quote(name)} is a fact of the gate; a body must not set it"
                parts.add_at_key(file, ("attributes", name), "P042", message)
            check_pointer(parts, file, ("attributes", name, "pointer"), source.pointer)
        if profile.card_number is not None:
            check_pointer(parts, file, ("card_number", "pointer"), profile.card_number.pointer)
            _check_card_number(parts, file, profile)


def _check_card_number(parts: Parts, file: str, profile: Profile) -> None:
    """Refuse an attribute that reads the card number as well: rules could then compare it, and records name it."""
    card = profile.card_number
    for name, source in profile.attributes.items():
        if card is not None and source.pointer == card.pointer:
            message = f"{quote(source.pointer)} is the card number; no attribute may hold it"
            parts.add(file, ("attributes", name, "pointer"), "P043", message)
