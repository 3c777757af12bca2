"""merchants.yaml compiled: one dictionary look-up on the request path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from zoneinfo import ZoneInfo

from policy.schema.merchants import Merchant, MerchantsFile


@dataclass(frozen=True, slots=True)
class MerchantEntry:
    """What the request path needs to know of a merchant.

    Attributes:
        id: The merchant's id.
        is_active: False means suspended: every payment is refused.
        tier: Its tier in merchants.yaml.
        zone: Where its day starts and ends.
        mcc: ISO 18245 category, four digits, or None.
        country: ISO 3166 alpha-2, or None.
        group: Of merchants that share quotas; empty for none.
    """

    id: str
    is_active: bool
    tier: str
    zone: ZoneInfo
    mcc: str | None
    country: str | None
    group: str = ""


@dataclass(frozen=True, slots=True)
class MerchantTable:
    """All merchants by id; read-only."""

    entries: Mapping[str, MerchantEntry]

    @classmethod
    def compile(cls, file: MerchantsFile) -> MerchantTable:
        """Build the table from a checked file."""
        return cls(MappingProxyType({merchant.id: _entry(merchant) for merchant in file.merchants}))

    def get(self, merchant_id: str) -> MerchantEntry | None:
        """Return the merchant, or None when nobody knows it."""
        return self.entries.get(merchant_id)


def _entry(merchant: Merchant) -> MerchantEntry:
    return MerchantEntry(
        id=merchant.id,
        is_active=merchant.status == "active",
        tier=merchant.tier,
        zone=ZoneInfo(merchant.time_zone),
        mcc=merchant.mcc,
        country=merchant.country,
        group=merchant.group or "",
    )


@lru_cache(maxsize=1)
def time_zone_names() -> frozenset[str]:
    """Return every IANA time zone name of the tzdata package.

    A list, not an attempt to load: names such as `localtime` depend on the machine, and a name is never used
    as a file path before it is known to be one of these.
    """
    return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split())
