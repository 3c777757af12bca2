"""NAME_test.yaml: sequences of payments with what the quotas must say, for `tollhouse test`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy.schema.base import AmountMinor, CurrencyCode, FileModel, Identifier, Integer, MerchantId, Text
from policy.schema.durations import Duration

Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$")]
"""RFC 3339 with whole seconds and an offset."""


class TestPayment(FileModel):
    """One request, as the gate hands it to the quotas."""

    __test__ = False

    merchant: MerchantId
    operation: Identifier
    amount_minor: AmountMinor | None = Field(None, description="Together with currency, or neither.")
    currency: CurrencyCode | None = None
    card: Identifier | None = Field(
        None, description="A word that stands for a card, the same word for the same card; never a card number."
    )
    payer: Identifier | None = Field(None, description="A word that stands for the payer's id.")
    device: Identifier | None = Field(None, description="A word that stands for the device's id.")
    ip: Identifier | None = Field(None, description="A word that stands for the payer's address, or its /64.")
    sub_merchant: MerchantId | None = None
    idempotency_key: Identifier | None = Field(
        None,
        description="A word that stands for the idempotency key. The same word with the same payment is its repeat, "
        "with another payment a mismatch; it counts for operations whose upstream enforces it.",
    )


class TestExpectation(FileModel):
    """What must come out; what is not written is not compared."""

    __test__ = False

    decision: Literal["within_limit", "over_limit"] | None = None
    reason: Identifier | None = Field(None, description="Reason code of docs/errors.md, for over_limit.")
    quota: Identifier | None = Field(None, description="The quota that decided, for over_limit.")
    over: tuple[Identifier, ...] | None = Field(
        None, description="Every quota that the payment did not fit, shadow ones too; [] for none."
    )
    used: dict[Identifier, AmountMinor] = Field(
        default_factory=dict, description="What each quota has counted after the step."
    )
    remaining: dict[Identifier, AmountMinor] = Field(
        default_factory=dict, description="What each quota has left after the step; 0 when more is used than allowed."
    )
    retry_after_seconds: Annotated[Integer, Field(ge=0)] | None = Field(
        None, description="Seconds until trying again makes sense; 0 when waiting does not help."
    )


class TestStep(FileModel):
    """One thing that happens: time passes first, then a payment is made or an outcome arrives."""

    __test__ = False

    at: Moment | None = Field(None, description="The clock is set to it before the step; never back.")
    after: Duration | None = Field(None, description="The clock moves on by it before the step.")
    pay: TestPayment | None = None
    times: Annotated[Integer, Field(ge=1, le=10_000)] = Field(
        1, description="The payment is made so often; all but the last must be within every limit."
    )
    every: Duration | None = Field(None, description="With times: the clock moves on by it before each but the first.")
    id: Identifier | None = Field(None, description="Names this payment (the last one with times) for `of`.")
    outcome: Literal["approved", "declined", "in_doubt", "lost"] | None = Field(
        None,
        description="approved: the upstream took it; declined: it provably did not; in_doubt: nobody knows; lost: no "
        "word of it ever arrives.",
    )
    of: Identifier | None = Field(None, description="Whose outcome; without it, of the payment before.")
    expect: TestExpectation | None = None


class QuotaTest(FileModel):
    """One test: a store that is empty, a clock that stands still, and what happens."""

    name: Text
    at: Moment = Field(description="Where the clock stands at first; only steps move it.")
    steps: tuple[TestStep, ...] = Field(min_length=1, max_length=1000)


class QuotaTestsFile(FileModel):
    """Tests of quotas, each by itself."""

    quota_tests: tuple[QuotaTest, ...] = Field(min_length=1, max_length=1000)
