"""What `scripts/bench` reads and writes around a measurement: h2load, counters, peers, policy sets, requests."""

from __future__ import annotations

import os

import pytest
from redis.asyncio import Redis

import bench.__main__
import bench.still
from bench.cases import EXTAUTHZ, MAX_PROCESSES, METHODS, RATELIMIT, PolicyShape, cases_of
from bench.crowd import counters_of_one, fill
from bench.load import Call, LoadFailed, check_summary, parse_log, percentile_us, requests_per_second
from bench.payloads import payment_body, rate_limit_request, request_messages, running_issuer
from bench.peers import parse_peer
from bench.policy_sets import write_policy_set
from bench.servers import BenchFailed, Counters, cpu_seconds, find_mistake, parse_counters
from chassis.clock import SystemClock
from extauthz.model import AuthzRequest
from extauthz.wire import parse_check_request
from policy.loader import load_policy_set
from policy.settings import ServiceSettings
from protos import envoy_wire_pb2 as wire
from ratelimit.model import LimitQuery
from ratelimit.wire import parse_rate_limit_request
from tollhouse.embedded_store import EmbeddedStore
from tollhouse.probe import get_json

SUMMARY = "requests: {0} total, {0} started, {1} done, {2} succeeded, {3} failed, {4} errored, {5} timeout\n"


def test_log_lines_are_read():
    calls = parse_log(["1700000000000000\t200\t1500", "1700000000000500\t200\t2500"])
    assert calls == [Call(1700000000000000, 1500), Call(1700000000000500, 2500)]


@pytest.mark.parametrize("line", ["1\t503\t5", "1\t-1\t5", "1\t200", "garbage", "", "1\t200\t-5"])
def test_log_lines_that_are_no_success_fail_the_load(line):
    with pytest.raises(LoadFailed):
        parse_log([line])


def test_summary_of_a_clean_run_passes():
    check_summary("starting benchmark...\n" + SUMMARY.format(40, 40, 40, 0, 0, 0), 40)


@pytest.mark.parametrize(
    "output",
    [
        SUMMARY.format(40, 40, 39, 1, 0, 0),
        SUMMARY.format(40, 39, 39, 0, 1, 0),
        SUMMARY.format(39, 39, 39, 0, 0, 0),
        "h2load: cannot resolve host\n",
        "",
    ],
)
def test_summary_of_anything_less_fails_the_load(output):
    with pytest.raises(LoadFailed):
        check_summary(output, 40)


def test_rate_and_percentiles():
    calls = [Call(1_000_000 + 1000 * number, 1000 + number) for number in range(100)]
    assert requests_per_second(calls) == pytest.approx(100 / 0.100099)
    assert (percentile_us(calls, 0.5), percentile_us(calls, 0.99)) == (1050.0, 1099.0)
    assert percentile_us(calls[:1], 0.99) == 1000.0


METRICS = """\
# HELP tollhouse_decisions_total Decisions.
# TYPE tollhouse_decisions_total counter
tollhouse_decisions_total{service="extauthz",verdict="allow",reason="allow",step="assess"} 7.0
tollhouse_decisions_total{service="extauthz",verdict="allow",reason="review",step="assess"} 2.0
tollhouse_decisions_total{service="extauthz",verdict="deny",reason="token_expired",step="authenticate"} 1.0
# TYPE tollhouse_records_lost_total counter
tollhouse_records_lost_total{service="extauthz"} 3.0
"""


def test_counters_are_read_by_verdict():
    assert parse_counters(METRICS) == Counters({"allow": 9, "deny": 1}, records_lost=3)


BEFORE = Counters({"allow": 10, "deny": 2}, records_lost=1)


@pytest.mark.parametrize(
    ("after", "mistake"),
    [
        (Counters({"allow": 15, "deny": 2}, 1), ""),
        (Counters({"allow": 14, "deny": 2}, 1), "5 sent, counted: 4 allow"),
        (Counters({"allow": 16, "deny": 2}, 1), "5 sent, counted: 6 allow"),
        (Counters({"allow": 14, "deny": 3}, 1), "5 sent, counted: 4 allow, 1 deny"),
        (Counters({"allow": 15, "deny": 2, "unavailable": 1}, 1), "5 sent, counted: 5 allow, 1 unavailable"),
        (Counters({"allow": 10, "deny": 2}, 1), "5 sent, counted: nothing"),
        (Counters({"allow": 15, "deny": 2}, 4), "3 decision records lost"),
    ],
)
def test_only_the_exact_count_of_the_expected_verdict_counts(after, mistake):
    assert find_mistake(BEFORE, after, sent=5, verdict="allow") == mistake


def test_cpu_time_of_a_process_grows_and_a_missing_process_is_said():
    assert cpu_seconds(os.getpid()) > 0
    with pytest.raises(BenchFailed, match="is gone"):
        cpu_seconds(2**22 + 1)


def test_peer_is_read():
    peer = parse_peer("opa=127.0.0.1:9191:4242")
    assert (peer.name, peer.target.address, peer.target.pid) == ("opa", "127.0.0.1:9191", 4242)
    assert peer.target.admin_port is None


@pytest.mark.parametrize("text", ["opa", "opa=127.0.0.1:9191", "=h:1:2", "envoy=h:1:2", "opa=h:x:2", "opa=h:1:2:3"])
def test_what_is_no_peer_is_refused(text):
    with pytest.raises(ValueError, match="peer"):
        parse_peer(text)


def test_missing_h2load_is_said_with_the_package(monkeypatch, capsys):
    monkeypatch.setattr(bench.__main__, "find_h2load", lambda: None)
    assert bench.__main__.main([]) == 2
    assert "nghttp2-client" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["both"], ["--seconds", "0"], ["--rounds", "0"], ["--peer", "x"], ["--in-flight", "2"]]
)
def test_wrong_command_line_is_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        bench.__main__.main(words)
    assert ended.value.code == 2


def test_cases_are_the_named_ones():
    assert cases_of(EXTAUTHZ) == ("floor", "warm", "cold", "dpop", "merchants_10", "merchants_10k", "rules_100")
    assert cases_of(RATELIMIT) == (
        *("floor", "warm", "merchants_10", "merchants_10k", "descriptors"),
        *("quotas_1", "quotas_5", "leased", "merchants_1k", "merchants_1m"),
    )


def test_generated_policy_set_loads_with_the_size_asked_for(tmp_path):
    root = write_policy_set(
        tmp_path / "set",
        PolicyShape(merchants=17, operations=5, rules=21),
        issuer="http://127.0.0.1:1",
        jwks_uri="http://127.0.0.1:1/jwks.json",
    )
    policy = load_policy_set(root)
    sizes = (len(policy.merchants.merchants), len(policy.routes.operations), len(policy.risk.rules))
    assert sizes == (17, 5, 21)
    assert [len(quota.merchants) for quota in policy.quotas.quotas] == [17, 17]


def test_requests_are_what_the_services_read_each_with_its_own_facts():
    with running_issuer() as issuer:
        assert len(get_json(int(issuer.url.rpartition(":")[2]), "/jwks.json")["keys"]) == 1
        messages = request_messages(EXTAUTHZ, issuer, PolicyShape(), MAX_PROCESSES)
    requests = [parse_check_request(message) for message in messages]
    assert all(isinstance(request, AuthzRequest) and not request.body_is_partial for request in requests)
    assert len({request.headers["authorization"] for request in requests}) == MAX_PROCESSES
    assert len({request.body for request in requests}) == MAX_PROCESSES
    query = parse_rate_limit_request(rate_limit_request(3, "m00003"))
    assert isinstance(query, LimitQuery)
    assert query.merchant_id == "m00003"


async def test_bound_request_passes_again_and_again_with_a_mark_in_the_store(tmp_path):
    with running_issuer() as issuer:
        shape = PolicyShape(is_dpop_bound=True)
        policies = write_policy_set(tmp_path / "set", shape, issuer=issuer.url, jwks_uri=issuer.jwks_uri)
        log = str(tmp_path / "decisions.jsonl")
        service = bench.still.build(ServiceSettings(policies=str(policies), store="memory:", decision_log=log))
        await service.start()
        try:
            for message in request_messages(EXTAUTHZ, issuer, shape, 2) * 2:
                answer = await service.methods[METHODS[EXTAUTHZ]](message, SystemClock().monotonic() + 5)
                assert wire.CheckResponse.FromString(answer).status.code == 0
        finally:
            await service.stop()


def test_ten_merchants_are_shared_by_sixteen_callers():
    with running_issuer() as issuer:
        messages = request_messages(RATELIMIT, issuer, PolicyShape(merchants=10), MAX_PROCESSES)
    merchants = {parse_rate_limit_request(message).merchant_id for message in messages}
    assert merchants == {f"m{index:05d}" for index in range(10)}
    assert b"4571" in payment_body(0, "m00000")


async def test_a_crowd_has_the_counters_that_the_service_makes(tmp_path):
    uri = "http://127.0.0.1:1"
    root = write_policy_set(tmp_path / "set", PolicyShape(merchants=3), issuer=uri, jwks_uri=f"{uri}/jwks.json")
    entries = counters_of_one(root, 1_700_000_000.0)
    assert [entry.key for entry in entries] == [
        "tollhouse:1:{m00000}:amount_per_day:d20231114",
        "tollhouse:1:{m00000}:rate:s1700000000",
    ]
    async with EmbeddedStore() as store, Redis.from_url(store.url, decode_responses=True) as client:
        assert await fill(store.url, entries, 25_000) > 10
        assert await client.dbsize() == 50_000
        assert await client.get("tollhouse:1:{m24999}:amount_per_day:d20231114") == "1250"
