"""Builders of requests as the wire reader hands them over."""

from __future__ import annotations

from typing import Any

from extauthz.model import AuthzRequest


def authz_request(**overrides: Any) -> AuthzRequest:
    """Return a payment request without credentials; `overrides` replace whole attributes."""
    values: dict[str, Any] = {
        "method": "POST",
        "scheme": "https",
        "host": "pay.example.test",
        "path": "/v1/payments",
        "headers": {"content-type": "application/json"},
        "body": b"{}",
        "body_is_partial": False,
        "peer_ip": "192.0.2.1",
        "time": 1_700_000_000.0,
        "request_id": "11111111-2222-4333-8444-555555555555",
    }
    return AuthzRequest(**{**values, **overrides})


def bearer_request(token: str, **overrides: Any) -> AuthzRequest:
    """Return a payment request that presents `token` the accepted way."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    return authz_request(**{"headers": headers, **overrides})
