"""Metrics: labels come from closed sets, whatever a caller passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from chassis.metrics import STEPS, VERDICTS, ServiceMetrics


def metrics() -> ServiceMetrics:
    return ServiceMetrics("extauthz", ["route_unknown", "merchant_suspended"])


def value(of: ServiceMetrics, name: str, **labels: str) -> float | None:
    return of.registry.get_sample_value(name, {"service": "extauthz", **labels})


def test_decision_is_counted_and_timed():
    made = metrics()
    made.decision("deny", "route_unknown", "select", 0.0002)
    made.decision("deny", "route_unknown", "select", 2.0)
    made.decision("allow", "allow", "render", 0.0002)
    labels = {"verdict": "deny", "reason": "route_unknown", "step": "select"}
    assert value(made, "tollhouse_decisions_total", **labels) == 2
    assert value(made, "tollhouse_decisions_total", verdict="allow", reason="allow", step="render") == 1
    assert value(made, "tollhouse_decision_seconds_bucket", verdict="deny", le="0.00025") == 1
    assert value(made, "tollhouse_decision_seconds_count", verdict="deny") == 2


def test_empty_label_values_count_as_none():
    made = metrics()
    made.decision("within_limit", "", "", 0.001)
    assert value(made, "tollhouse_decisions_total", verdict="within_limit", reason="none", step="none") == 1


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=30))
def test_unknown_label_values_make_no_series_of_their_own(labels: list[tuple[str, str, str]]):
    made = metrics()
    for verdict, reason, step in labels:
        made.decision(verdict, reason, step, 0.001)
        made.decision(verdict, verdict, step, 0.001)
    (decisions,) = [family for family in made.registry.collect() if family.name == "tollhouse_decisions"]
    known = {"other", "none", "route_unknown", "merchant_suspended", *VERDICTS, *STEPS}
    for sample in decisions.samples:
        assert {sample.labels["verdict"], sample.labels["reason"], sample.labels["step"]} <= known


def test_one_policy_series_stays_whatever_the_number_of_reloads():
    made = metrics()
    made.policy_loaded("aaaa", 10.0)
    assert value(made, "tollhouse_policy_reloads_total") == 0  # the load at start is none
    made.policy_reload_failed()
    assert value(made, "tollhouse_policy_stale") == 1
    made.policy_loaded("bbbb", 20.0)
    assert value(made, "tollhouse_policy_info", revision="aaaa") is None
    assert value(made, "tollhouse_policy_info", revision="bbbb") == 1
    assert value(made, "tollhouse_policy_loaded_timestamp_seconds") == 20.0
    assert value(made, "tollhouse_policy_stale") == 0
    assert value(made, "tollhouse_policy_reload_failures_total") == 1
    assert value(made, "tollhouse_policy_reloads_total") == 1


def test_background_facts_are_shown():
    made = metrics()
    assert "tollhouse_store_up" not in generate_latest(made.registry).decode()  # a service without a store
    made.records_lost(3)
    is_up = [True]
    made.watch_store(lambda: is_up[0])
    text = generate_latest(made.registry).decode()
    assert 'tollhouse_records_lost_total{service="extauthz"} 3.0' in text
    assert 'tollhouse_store_up{service="extauthz"} 1.0' in text
    is_up[0] = False
    assert value(made, "tollhouse_store_up") == 0
    made.watch_store_doubt(lambda: not is_up[0])
    assert value(made, "tollhouse_store_doubted") == 1
