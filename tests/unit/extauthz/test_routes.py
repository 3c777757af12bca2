"""Host, method and path lead to one operation or none."""

from __future__ import annotations

import pytest

from extauthz.model import Deny
from extauthz.reasons import Reason
from extauthz.routes import RouteTable, select
from helpers.requests import authz_request

TABLE = RouteTable(
    [
        ("payments.test", "POST", "/v1/payments", "create"),
        ("payments.test", "GET", "/v1/payments/{id}", "read"),
        ("payments.test", "GET", "/v1/payments/latest", "latest"),
        ("payments.test", "POST", "/v1/payments/{id}/refunds", "refund"),
        ("payments.test", "GET", "/v1/{kind}/latest/all", "all"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/payments", "create"),
        ("GET", "/v1/payments/p_1", "read"),
        ("GET", "/v1/payments/latest", "latest"),
        ("POST", "/v1/payments/latest/refunds", "refund"),
        ("GET", "/v1/payments/latest/all", "all"),
        ("POST", "/v1/payments?debug=1", "create"),
    ],
)
def test_request_of_an_operation_finds_it(method, path, operation):
    assert select(TABLE, authz_request(method=method, path=path, host="payments.test:443")) == operation


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "DELETE"}, Reason.ROUTE_UNKNOWN),
        ({"host": "other.test"}, Reason.ROUTE_UNKNOWN),
        ({"path": "/v1/payments/"}, Reason.ROUTE_UNKNOWN),
        ({"path": "/v1/Payments"}, Reason.ROUTE_UNKNOWN),
        ({"path": "/v1/payments/a/b"}, Reason.ROUTE_UNKNOWN),
        ({"path": "/v1/payments//refunds"}, Reason.REQUEST_MALFORMED),
        ({"path": "/v1/x/../payments"}, Reason.REQUEST_MALFORMED),
        ({"host": "payments.test, evil"}, Reason.REQUEST_MALFORMED),
    ],
)
def test_any_other_request_is_refused(changes, reason):
    request = authz_request(**{"method": "POST", "path": "/v1/payments", "host": "payments.test", **changes})
    refusal = select(TABLE, request)
    assert isinstance(refusal, Deny)
    assert refusal.reason is reason
