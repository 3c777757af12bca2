"""What Envoy may send again: a check always, a charge only where no replica has read it."""

from typing import Any

import pytest
import yaml

from chassis.listen import HostOptions, ListenAddress
from ratelimit.outcomes import RETRIES_TAG, UNSENT_ONLY
from tollhouse.up.envoy_config import REFERENCE

FILES = sorted(REFERENCE.parent.glob("tollhouse*.yaml"))
UNREAD = {"connect-failure", "refused-stream"}


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    return yaml.safe_load(request.param.read_text("utf-8"))


def services(document: dict[str, Any]) -> dict[str, Any]:
    """Return the gRPC service of both filters."""
    (listener,) = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    filters = {item["name"].rpartition(".")[2]: item["typed_config"] for item in manager["http_filters"]}
    return {
        "extauthz": filters["ext_authz"]["grpc_service"],
        "ratelimit": filters["ratelimit"]["rate_limit_service"]["grpc_service"],
    }


def clusters(document: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in document["static_resources"]["clusters"]}


def test_charge_is_never_sent_to_a_second_replica_that_may_charge_too(document: dict[str, Any]) -> None:
    assert set(services(document)["ratelimit"]["retry_policy"]["retry_on"].split(",")) == UNREAD


def test_outcomes_are_told_with_a_word_about_retries_that_is_true(document: dict[str, Any]) -> None:
    (listener,) = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (log,) = [item["typed_config"] for item in manager["access_log"] if item["name"].endswith("http_grpc")]
    tags = {tag["tag"]: tag["literal"]["value"] for tag in log["common_config"]["custom_tags"]}
    assert tags == {RETRIES_TAG: UNSENT_ONLY}
    routed = [
        route["route"]
        for host in manager["route_config"]["virtual_hosts"]
        for route in host["routes"]
        if "route" in route
    ]
    assert routed
    for route in routed:
        assert set(route.get("retry_policy", {"retry_on": "refused-stream"})["retry_on"].split(",")) <= UNREAD


def test_check_is_sent_again_whatever_became_of_the_first(document: dict[str, Any]) -> None:
    conditions = set(services(document)["extauthz"]["retry_policy"]["retry_on"].split(","))
    assert conditions == UNREAD | {"reset", "cancelled", "unavailable"}


@pytest.mark.parametrize("name", ["extauthz", "ratelimit"])
def test_no_try_is_given_up_before_the_call(document: dict[str, Any], name: str) -> None:
    service = services(document)[name]
    # Envoy takes max_interval as the time limit of each try as well.
    assert service["retry_policy"]["retry_back_off"]["max_interval"] == service["timeout"]


@pytest.mark.parametrize("name", ["extauthz", "ratelimit"])
def test_health_checks_see_a_drain_before_the_listener_closes(document: dict[str, Any], name: str) -> None:
    (check,) = clusters(document)[name]["health_checks"]
    seconds = [float(check[member].removesuffix("s")) for member in ("interval", "interval_jitter")]
    assert sum(seconds) < HostOptions(ListenAddress.parse("127.0.0.1:0")).lame_duck_seconds
