"""What the upstream may tell apart is told apart; a rotation of the keys parts no repeat from its payment."""

from __future__ import annotations

from typing import Any

import pytest

from extauthz.idempotency import IdempotencyRule
from extauthz.model import Principal
from helpers.cards import NEW, OLD
from helpers.requests import authz_request
from policy.card_keys import CardKeyring, CardSecret
from policy.handoff import PaymentIdentity, read_identity, write_identity
from policy.schema.routes import Operation


def rule(*secrets: CardSecret, mode: str = "upstream_enforced") -> IdempotencyRule:
    fields: dict[str, Any] = {"operation": "pay", "method": "POST", "path": "/p", "scopes": (), "moves_money": True}
    fields |= {"merchant": {"claim": "/m"}, "idempotency": {"mode": mode}}
    compiled = IdempotencyRule.compile(Operation(**fields), CardKeyring(secrets) if secrets else None)
    assert compiled is not None
    return compiled


def identity(one: IdempotencyRule, *, key: str = "k-1", merchant: str = "m_1", **changes: Any) -> PaymentIdentity:
    named = {"token_issuer": "https://i.test", "subject": "s", "client_id": "c"}
    named |= {name: changes.pop(name) for name in list(changes) if name in named}
    principal = Principal(**named, scopes=frozenset(), claims={}, issued_at=0.0, expires_at=1.0)
    request = authz_request(headers={"idempotency-key": key}, **changes)
    found = one.identity(request, principal, merchant)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "k-2"},
        {"key": '"k-1"'},
        {"key": "K-1"},
        {"merchant": "m_2"},
        {"client_id": "d"},
        {"token_issuer": "https://j.test"},
        {"subject": "t"},
    ],
    ids=str,
)
def test_other_payment_has_another_key(changes):
    one = rule(OLD)
    assert identity(one) == identity(one)
    assert identity(one, **changes).key != identity(one).key
    assert identity(one, **changes).digest == identity(one).digest


@pytest.mark.parametrize(
    "changes", [{"body": b"{ }"}, {"path": "/v1/payments?a"}, {"host": "other.test"}, {"method": "PUT"}], ids=str
)
def test_other_request_has_another_digest(changes):
    one = rule(OLD)
    assert identity(one, **changes).digest != identity(one).digest
    assert identity(one, **changes).key == identity(one).key


def test_names_do_not_run_into_each_other():
    assert identity(rule(OLD), client_id="ab", subject="c").key != identity(rule(OLD), client_id="a", subject="bc").key


def test_identity_stays_over_a_rotation_until_the_old_key_is_dropped():
    assert identity(rule(OLD)) == identity(rule(NEW, OLD)) != identity(rule(NEW))


def test_nothing_makes_a_repeat_where_the_upstream_is_not_trusted_and_no_key_no_trust():
    request = authz_request(headers={"idempotency-key": "k"})
    principal = Principal("i", "s", "c", frozenset(), {}, 0.0, 1.0)
    assert rule(OLD, mode="required").identity(request, principal, "m_1") is None
    with pytest.raises(ValueError, match="no key"):
        rule()


def test_body_that_was_cut_off_is_no_known_request():
    refused = rule(OLD).refusal(authz_request(headers={"idempotency-key": "k"}, body_is_partial=True))
    assert refused is not None
    assert refused.reason.code == "body_unreadable"


def test_identity_is_read_as_it_was_written_and_holds_nothing_of_the_key():
    found = identity(rule(OLD), key="order-4711")
    assert read_identity(write_identity(found)) == found
    assert "4711" not in write_identity(found)
    assert write_identity(None) == "none"
