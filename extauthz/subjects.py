"""What quotas count a payment by besides merchant and card: payer, device, address, sub-merchant.

Resolved per operation at load: what no quota of the operation counts by is neither looked for nor hashed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from policy.attributes import SUBJECT_ATTRIBUTES
from policy.card_keys import CardKeyring
from policy.handoff import NONE, UNREAD, write_keyed
from policy.schema.quotas import QuotasFile

_IPV6_PREFIX: Final = 64
"""One subscriber has a whole /64, and may send each request from another address of it."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """The entries of one operation.

    Attributes:
        always: Entries that are the same for every payment.
        keyed: Entries of keyed hashes, with the attribute of each.
        is_sub_merchant_read: The sub-merchant is handed over, as it is.
        keyring: Hashes; needed where `keyed` is not empty.
    """

    always: Mapping[str, str]
    keyed: tuple[tuple[str, str], ...] = ()
    is_sub_merchant_read: bool = False
    keyring: CardKeyring | None = None

    @classmethod
    def compile(cls, quotas: QuotasFile, operation: str, keyring: CardKeyring | None) -> Subjects:
        """Find what the quotas of an operation count by; raises ValueError where the keyring for it is missing."""
        used: set[str] = set()
        for quota in quotas.quotas:
            if operation in quota.operations:
                used |= quota.subjects
        keyed = tuple((name, of) for name, of in SUBJECT_ATTRIBUTES.items() if name in used and name != "sub_merchant")
        if keyed and keyring is None:
            raise ValueError("a quota counts by keyed hashes, and there is no key to hash with")
        always = {name: UNREAD for name in SUBJECT_ATTRIBUTES if name not in used}
        return cls(always, keyed, "sub_merchant" in used, keyring)

    def entries(self, payment: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the entries of one payment; a value that the body lacks is `none`."""
        if not self.keyed and not self.is_sub_merchant_read:
            return self.always
        entries = dict(self.always)
        if self.is_sub_merchant_read:
            entries["sub_merchant"] = payment.get(SUBJECT_ATTRIBUTES["sub_merchant"], NONE)
        for name, attribute in self.keyed:
            entries[name] = write_keyed(self._hashes(name, payment.get(attribute)))
        return entries

    def _hashes(self, name: str, value: str | None) -> tuple[str, ...]:
        if value is None or self.keyring is None:
            return ()
        return self.keyring.value_keys(name, network_of(value) if name == "ip" else value)


def network_of(address: str) -> str:
    """Return what an address is counted as: an IPv4 address itself, an IPv6 address as its /64.

    Args:
        address: In its one spelling (RFC 5952), which the body reader has seen to.
    """
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))
