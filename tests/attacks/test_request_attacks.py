"""Hosts and times of a CheckRequest that only an odd sender writes."""

from __future__ import annotations

import pytest

from extauthz.model import AuthzRequest, Deny
from extauthz.paths import canonical_host
from extauthz.reasons import Reason
from extauthz.wire import parse_check_request
from helpers.services import check_bytes
from protos import envoy_wire_pb2 as wire


@pytest.mark.parametrize("host", ["\u212aiosk.test", "k\u0130osk.test", "kiosk\uff0etest", "kiosk.test\u3002"])
def test_host_beyond_ascii_is_no_host(host):
    assert canonical_host(host) is None
    assert canonical_host("Kiosk.test") == "kiosk.test"


def at(seconds: int) -> AuthzRequest | Deny:
    message = wire.CheckRequest.FromString(check_bytes())
    message.attributes.request.time.seconds = seconds
    return parse_check_request(message.SerializeToString())


@pytest.mark.parametrize("seconds", [-1, -(2**63), 2**63 - 1, 253_402_300_800])
def test_time_without_a_date_is_malformed(seconds):
    refusal = at(seconds)
    assert isinstance(refusal, Deny)
    assert refusal.reason is Reason.REQUEST_MALFORMED
    assert isinstance(at(1_700_000_000), AuthzRequest)
