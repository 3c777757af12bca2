"""What an entry of the access log says of its payment: given back only where nothing can have happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.access_log import LogEntry
from helpers.services import copy_policies, edit
from policy.loader import load_policy_set
from protos import envoy_wire_pb2 as wire
from ratelimit.compile import compile_tables
from ratelimit.ledger import Outcome, Settlement
from ratelimit.outcomes import RETRIES_TAG, UNSENT_ONLY, OutcomeReader, classify
from ratelimit.posting import hold_about, hold_key

DECLINED = frozenset({402, 422})
REFUSED = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"
CUT = "upstream_reset_before_response_started{connection_termination}"
CUT_SHORT = "upstream_reset_after_response_started{protocol_error}"
OVERFLOW = "upstream_reset_before_response_started{overflow}"
FLAGS = [field.name for field in wire.ResponseFlags.DESCRIPTOR.fields]
LOCAL = ["no_healthy_upstream", "cluster_not_found", "rbac_access_denied_matched_policy[p]", "request_rate_limited"]


def entry(details: str = "via_upstream", status: int = 200, *flags: str, **how: object) -> LogEntry:
    """Return an entry of a request that was sent to an upstream once, but for what `how` says."""
    said = {"has_upstream": True, "is_sent": True, "attempts": 1, **how}
    return LogEntry({}, status, details, frozenset(flags), **said)


UNSENT = {"has_upstream": False, "is_sent": False}


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (entry(), Outcome.SPENT),
        (entry(status=302), Outcome.SPENT),
        (entry(status=402), Outcome.RELEASED),
        (entry(status=422), Outcome.RELEASED),
        (entry(status=400), Outcome.IN_DOUBT),
        (entry(status=500), Outcome.IN_DOUBT),
        (entry(status=503), Outcome.IN_DOUBT),
        # As a real Envoy writes them, in tests/stack/test_outcomes.py.
        (entry(REFUSED, 503, "upstream_connection_failure", is_sent=False), Outcome.RELEASED),
        (entry("no_healthy_upstream", 503, "no_healthy_upstream", **UNSENT), Outcome.RELEASED),
        (entry("cluster_not_found", 503, "no_cluster_found", **UNSENT, attempts=0), Outcome.RELEASED),
        (
            entry(OVERFLOW, 503, "upstream_overflow", **UNSENT),
            Outcome.RELEASED,
        ),
        (entry("request_rate_limited", 429, "rate_limited", **UNSENT, attempts=0), Outcome.RELEASED),
        (entry("rbac_access_denied_matched_policy[p]", 403, **UNSENT, attempts=0), Outcome.RELEASED),
        (entry(CUT, 503, "upstream_connection_termination"), Outcome.IN_DOUBT),
        (entry("response_timeout", 504, "upstream_request_timeout"), Outcome.IN_DOUBT),
        (
            entry(CUT_SHORT, 402, "upstream_protocol_error"),
            Outcome.IN_DOUBT,
        ),
        (entry("downstream_remote_disconnect", 0, "downstream_connection_termination"), Outcome.IN_DOUBT),
    ],
)
def test_entry_is_read_as_its_request_ended(found: LogEntry, outcome: Outcome):
    assert classify(found, DECLINED) is outcome


def test_declined_status_of_another_origin_gives_nothing_back():
    for flag in FLAGS:
        assert classify(entry("via_upstream", 402, flag), DECLINED) is Outcome.IN_DOUBT
    assert classify(entry("ext_authz_denied", 402), DECLINED) is Outcome.IN_DOUBT
    assert classify(entry("via_upstream", 402), frozenset()) is Outcome.IN_DOUBT


@pytest.mark.parametrize("details", [REFUSED, *LOCAL])
def test_request_that_was_sent_or_tried_again_is_in_doubt(details: str):
    released = entry(details, 503, **UNSENT)
    assert classify(released, DECLINED) is Outcome.RELEASED
    for change in ({"is_sent": True}, {"attempts": 2}, {"has_upstream": True}, {"status": 0}):
        assert classify(released._replace(**change), DECLINED) is Outcome.IN_DOUBT
    for flag in ("downstream_connection_termination", "downstream_remote_reset"):
        assert classify(released._replace(flags=frozenset({flag})), DECLINED) is Outcome.IN_DOUBT


def test_requests_tried_again_are_believed_where_envoy_only_tries_again_what_was_not_sent():
    told = {"tags": {RETRIES_TAG: UNSENT_ONLY}, "attempts": 3}
    flags = frozenset({"upstream_connection_failure", "upstream_retry_limit_exceeded"})
    assert classify(entry(REFUSED, 503, *flags, **{**told, "is_sent": False}), DECLINED) is Outcome.RELEASED
    assert classify(entry("via_upstream", 402, **told), DECLINED) is Outcome.RELEASED
    assert classify(entry(CUT, 503, "upstream_connection_termination", **told), DECLINED) is Outcome.IN_DOUBT
    other = {**told, "tags": {RETRIES_TAG: "all"}}
    assert classify(entry("via_upstream", 402, **other), DECLINED) is Outcome.IN_DOUBT


@given(
    details=st.sampled_from([REFUSED, CUT, *LOCAL, "via_upstream", "", "response_timeout", "lua_response"])
    | st.text(max_size=30),
    status=st.sampled_from([0, 200, 402, 503, 504]),
    flags=st.sets(st.sampled_from(FLAGS)),
    has_upstream=st.booleans(),
    is_sent=st.booleans(),
    attempts=st.integers(0, 3),
)
def test_nothing_is_given_back_that_an_upstream_may_have_taken(details, status, flags, has_upstream, is_sent, attempts):
    found = LogEntry({}, status, details, frozenset(flags), has_upstream, is_sent, attempts)
    if classify(found, DECLINED) is Outcome.RELEASED:
        assert attempts <= 1
        is_declined = details == "via_upstream" and status == 402 and not flags
        assert is_declined or (not is_sent and (not has_upstream or "upstream_connection_failure" in flags))


SAID = {
    "handoff": "2",
    "verdict": "allow",
    "merchant_id": "m_active",
    "operation": "create_payment",
    "currency": "EUR",
    "amount_minor": "1250",
    "decision_id": "d" * 32,
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> OutcomeReader:
    policies = copy_policies(tmp_path_factory.mktemp("outcomes") / "policies")
    edit(
        policies / "quotas.yaml",
        "    tiers:\n      standard: 5000000\n",
        "    counts: authorized\n    tiers:\n      standard: 5000000\n",
    )
    tables = compile_tables(load_policy_set(policies))
    return OutcomeReader(lambda: tables)


def test_entry_settles_the_hold_of_its_decision(reader: OutcomeReader):
    found = reader.read(entry()._replace(metadata=SAID))
    about = hold_about("m_active", "create_payment", "EUR", 1250)
    assert found == Settlement(hold_key("m_active", "d" * 32), "d" * 32, about, Outcome.SPENT)
    declined = reader.read(entry(status=402)._replace(metadata=SAID))
    assert isinstance(declined, Settlement)
    assert declined.outcome is Outcome.RELEASED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"verdict": "deny"}, "refused"),
        ({"verdict": None}, "refused"),
        ({"handoff": "1"}, "malformed"),
        ({"decision_id": "D" * 32}, "malformed"),
        ({"decision_id": None}, "malformed"),
        ({"merchant_id": None}, "malformed"),
        ({"operation": None}, "malformed"),
        ({"amount_minor": "1250.0"}, "malformed"),
        ({"amount_minor": "01250"}, "malformed"),
        ({"amount_minor": "9007199254740992"}, "malformed"),
        ({"amount_minor": "none"}, "malformed"),
        ({"currency": "none"}, "malformed"),
        ({"currency": "eur"}, "malformed"),
        ({"merchant_id": "m_nobody"}, "unknown"),
        ({"operation": "fly"}, "unknown"),
    ],
)
def test_entry_that_is_no_hand_off_of_ours_settles_nothing(reader: OutcomeReader, changes, why: str):
    said = {name: value for name, value in {**SAID, **changes}.items() if value is not None}
    assert reader.read(entry()._replace(metadata=said)) == why


def test_nothing_is_settled_without_policy():
    assert OutcomeReader(lambda: None).read(entry()._replace(metadata=SAID)) == "unknown"


def test_operation_that_holds_nothing_asks_no_store(reader: OutcomeReader):
    said = {**SAID, "operation": "read_payment", "currency": "none", "amount_minor": "none"}
    assert reader.read(entry()._replace(metadata=said)) == "nothing_held"
