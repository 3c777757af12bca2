"""The compiled policy of this service: per merchant and operation, the limits that apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from policy.merchants import MerchantEntry
from ratelimit.window import Interval


@dataclass(frozen=True, slots=True)
class Limit:
    """One quota with the value that counts for a merchant.

    Attributes:
        quota: Id from quotas.yaml.
        metric: `count` adds one a request, `amount` adds its minor units.
        interval: Window of the counter; `per_transaction` has none.
        currency: Of an amount; None for a count.
        value: The most that is allowed.
        is_shadow: Counted and reported, never refused.
        denies_without_store: What the quota says when the store gives no reading.
        is_per_card: Each card at the merchant has a counter of its own.
        passes_without_card: A payment without a card is not counted; else it is refused.
    """

    quota: str
    metric: Literal["count", "amount"]
    interval: Interval
    currency: str | None
    value: int
    is_shadow: bool
    denies_without_store: bool
    is_per_card: bool = False
    passes_without_card: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that limits one operation of one merchant.

    Attributes:
        moves_money: The hand-off must then carry amount and currency.
        single: Limits of interval `per_transaction`; need no store.
        counted: Limits with a window.
        covered_currencies: Currencies with an enforced amount quota or a written `unlimited`.
    """

    moves_money: bool
    single: tuple[Limit, ...]
    counted: tuple[Limit, ...]
    covered_currencies: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything one request is judged by.

    Attributes:
        revision: Content hash of the policy set.
        merchants: Merchants by id.
        operations: Names of all operations.
        plans: By merchant id, then operation.
    """

    revision: str
    merchants: Mapping[str, MerchantEntry]
    operations: frozenset[str]
    plans: Mapping[str, Mapping[str, Plan]]
