"""`tollhouse envoy check`: the shipped chain is good, and each way to put unverified claims there is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.services import copy_policies, edit
from helpers.vouched import vouched_policies
from policy.envoy_file import EnvoyFileRefused, read_envoy_file
from tollhouse.__main__ import app
from tollhouse.envoy_jwt_authn_file import PAYLOAD_KEY, jwt_authn_reference
from tollhouse.envoy_tls_file import ReferenceChanged, tls_reference
from tollhouse.up.envoy_config import REFERENCE, read_reference

SHIPPED = REFERENCE.with_name("tollhouse-jwt-authn.yaml")
FILTER = "          - name: envoy.filters.http.jwt_authn\n"
SET_METADATA = """\
          - name: {name}
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config
              metadata: [{{metadata_namespace: {namespace}, value: {{a: b}}}}]
"""
LUA = """\
          - name: writer
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code: {inline_string: "function envoy_on_request(h) write(h, 'jwt_' .. 'authn') end"}
"""
ANY_KIND = """\
          - name: writer
            typed_config:
              "@type": type.googleapis.com/xds.type.v3.TypedStruct
              type_url: type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              value: {}
"""
PROCESSOR = """\
          - name: processor
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {envoy_grpc: {cluster_name: extauthz}}
              metadata_options: {receiving_namespaces: {untyped: [envoy.filters.http.jwt_authn]}}
"""
SECOND = f"""\
                careless:
                  payload_in_metadata: {PAYLOAD_KEY}
                  remote_jwks: {{http_uri: {{uri: "http://127.0.0.1/", cluster: token_issuer, timeout: 2s}}}}
"""
ROUTE_OFF = """\
              - match: {prefix: /v1}
                route: {cluster: payments_upstream}
                typed_per_filter_config:
                  envoy.filters.http.jwt_authn:
                    {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}
"""
DEFECTS = {
    "extract_only": ("requires: {provider_name: development}", "requires: {extract_only_without_validation: {}}"),
    "camel case": ("requires: {provider_name: development}", "requires: {extractOnlyWithoutValidation: {}}"),
    "allow_missing": (
        "requires: {provider_name: development}",
        "requires: {requires_any: {requirements: [{provider_name: development}, {allow_missing: {}}]}}",
    ),
    "allow_missing_or_failed": (
        "requires: {provider_name: development}",
        "requires: {requires_any: {requirements: [{provider_name: development}, {allow_missing_or_failed: {}}]}}",
    ),
    "payload_in_metadata must be": (f"payload_in_metadata: {PAYLOAD_KEY}", "payload_in_metadata: another"),
    "audiences must be": ("audiences: [https://payments.tollhouse.test]", "audiences: [https://other.example]"),
    "audiences": ("                  audiences: [https://payments.tollhouse.test]\n", ""),
    "with the issuer of": ("issuer: http://127.0.0.1:18080", "issuer: http://127.0.0.1:18081"),
    "has another issuer": ("                development:\n", f"{SECOND}                development:\n"),
    "forward: true": ("forward: true", "forward: false"),
    "from_headers": ('value_prefix: "Bearer "', 'value_prefix: ""'),
    "no other place": ('{name: Authorization, value_prefix: "Bearer "}', '{name: X-Token, value_prefix: "Bearer "}'),
    "from_params": ("forward: true", "forward: true\n                  from_params: [access_token]"),
    "from_cookies": ("forward: true", "forward: true\n                  fromCookies: [token]"),
    "same key": ("forward: true", f"forward: true\n                  header_in_metadata: {PAYLOAD_KEY}"),
    "normalize_payload_in_metadata": (
        "forward: true",
        "forward: true\n                  normalize_payload_in_metadata: {space_delimited_claims: [scope]}",
    ),
    "needs metadata_context": ("metadata_context_namespaces: [envoy.filters.http.jwt_authn]", "allowed_headers: {}"),
    "exactly once": ("jwt_authn.v3.JwtAuthentication", "cors.v3.Cors"),
    "disabled": (FILTER, f"{FILTER}            disabled: true\n"),
    "names envoy.filters.http.jwt_authn": (
        FILTER,
        SET_METADATA.format(name="forger", namespace="envoy.filters.http.jwt_authn") + FILTER,
    ),
    "'writer' runs code before": (FILTER, LUA + FILTER),
    "'writer' runs code": (FILTER, ANY_KIND + FILTER),
    "'processor' names envoy.filters": (FILTER, PROCESSOR + FILTER),
    "not written out": (FILTER, f"          - name: hidden\n            config_discovery: {{}}\n{FILTER}"),
    "takes jwt_authn off": ("              routes:\n", f"              routes:\n{ROUTE_OFF}"),
    "no rule requires": ("requires: {provider_name: development}", "requires: {provider_name: nobody}"),
}


def check(configuration: Path, policies: Path) -> tuple[int, str]:
    run = CliRunner().invoke(app, ["envoy", "check", str(configuration), "--policies", str(policies)])
    return run.exit_code, run.output


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text("utf-8")
    filters = text.index(FILTER)
    assert old in text[filters:] or old in text
    at = text.index(old, filters) if old in text[filters:] else text.index(old)
    path = tmp_path / "envoy.yaml"
    path.write_text(text[:at] + new + text[at + len(old) :], "utf-8")
    return path


def test_shipped_file_is_made_of_the_reference():
    assert SHIPPED.read_text("utf-8") == jwt_authn_reference(read_reference()), "run scripts/docs"


def test_reference_without_a_place_for_the_filter_is_refused():
    with pytest.raises(ReferenceChanged):
        jwt_authn_reference(read_reference().replace("              with_request_body:\n", ""))


def test_shipped_file_is_good_for_the_set_it_goes_with(tmp_path):
    status, said = check(SHIPPED, vouched_policies(tmp_path / "set", "    dpop: {}\n"))
    assert (status, "verifies the tokens of 1" in said) == (0, True), said


@pytest.mark.parametrize("finding", DEFECTS)
def test_each_defect_is_found(tmp_path, finding):
    status, said = check(changed(tmp_path, *DEFECTS[finding]), vouched_policies(tmp_path / "set", "    dpop: {}\n"))
    assert status == 1
    assert finding in said or finding == "camel case"
    assert finding != "camel case" or "extract_only_without_validation" in said


def test_chain_without_or_with_a_late_jwt_authn_is_refused(tmp_path):
    policies = vouched_policies(tmp_path / "set")
    assert check(REFERENCE, policies)[0] == 1
    text = SHIPPED.read_text("utf-8")
    begin, end = text.index(FILTER), text.index("          # Who is calling, and may")
    behind = text.index("          # Limits and quotas.")
    late = tmp_path / "late.yaml"
    late.write_text(text[:begin] + text[end:behind] + text[begin:end] + text[behind:], "utf-8")
    status, said = check(late, policies)
    assert status == 1
    assert "behind ext_authz" in said


def test_tls_goes_with_the_filter():
    assert "token_issuer" in jwt_authn_reference(read_reference())
    assert "envoy.filters.http.jwt_authn" not in tls_reference(read_reference())


def test_set_that_leaves_nothing_to_envoy_asks_nothing_of_its_file(tmp_path):
    assert check(REFERENCE, copy_policies(tmp_path / "set"))[0] == 0


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "- 1\n", "a: !!python/object:os.system x\n", "a: [", "a: &a [*a]\n"])
def test_file_with_two_readings_is_refused(tmp_path, text):
    path = tmp_path / "envoy.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(EnvoyFileRefused):
        read_envoy_file(path)


def test_member_in_both_spellings_is_refused(tmp_path):
    path = tmp_path / "envoy.yaml"
    path.write_text("staticResources: {}\nstatic_resources: {}\n", "utf-8")
    with pytest.raises(EnvoyFileRefused):
        read_envoy_file(path)


def test_absent_file_is_said(tmp_path):
    assert check(tmp_path / "absent.yaml", vouched_policies(tmp_path / "set"))[0] == 2


MARK = """\
              - append:
                  header: {key: x-tollhouse-cookie, value: "%REQ(COOKIE):1%"}
                  append_action: OVERWRITE_IF_EXISTS_OR_ADD
"""
HIDDEN = "disallowed_headers: {patterns: [{exact: cookie}]}"


@pytest.mark.parametrize("chain", [REFERENCE, REFERENCE.with_name("tollhouse-tls.yaml"), SHIPPED])
def test_chain_that_hides_cookies_from_operations_that_refuse_them_is_found(tmp_path, chain):
    policies = vouched_policies(tmp_path / "set") if chain == SHIPPED else copy_policies(tmp_path / "set")
    text = chain.read_text("utf-8")
    assert MARK in text
    hiding, showing = tmp_path / "hiding.yaml", tmp_path / "showing.yaml"
    hiding.write_text(text.replace(MARK, ""), "utf-8")
    showing.write_text(text.replace(MARK, "").replace(HIDDEN, "allow_unused: 1"), "utf-8")
    assert check(hiding, policies)[0] == 0  # no operation refuses cookies
    edit(
        policies / "routes.yaml",
        "    moves_money: true # amount",
        "    cookies: refuse\n    moves_money: true # amount",
    )
    assert [check(path, policies)[0] for path in (chain, hiding, showing)] == [0, 1, 0]
    assert "no header x-tollhouse-cookie" in check(hiding, policies)[1]
