"""Compiling providers.yaml: what its shape alone cannot express."""

from __future__ import annotations

import pytest

from extauthz.tokens.discovery import metadata_url
from extauthz.tokens.providers import check_providers, compile_providers
from helpers.token_rig import providers
from policy.schema.providers import Provider, ProvidersFile

GOOD = {
    "id": "main",
    "issuer": "https://as.example.test",
    "audiences": ("https://pay.example.test",),
    "algorithms": ("ES256", "Ed25519"),
}


def _file(*overrides: dict[str, object]) -> ProvidersFile:
    return ProvidersFile(providers=tuple(Provider.model_validate({**GOOD, **change}) for change in overrides))


def test_compile_keeps_every_rule():
    compiled = compile_providers(_file({"typ": ("AT+JWT",), "leeway_seconds": "5"}))[0]
    assert (compiled.issuer, compiled.token_types, compiled.leeway_seconds) == (GOOD["issuer"], {"at+jwt"}, 5)
    assert compiled.algorithms == {"ES256", "EdDSA"}


def test_compile_equal_files_are_equal_providers():
    assert providers("https://as.example.test") == providers("https://as.example.test")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (({"discovery": "none"},), ("providers", 0, "discovery")),
        (({"issuer": "http://as.example.test"},), ("providers", 0, "issuer")),
        (({"issuer": "http://127.0.0.1:8080"},), ("providers", 0, "issuer")),
        (({"issuer": "http://as.example.test", "allow_http": True},), ("providers", 0, "issuer")),
        (({"issuer": "http://10.0.0.1", "allow_http": True},), ("providers", 0, "issuer")),
        (({"issuer": "https://10.0.0.1"},), ("providers", 0, "issuer")),
        (({"issuer": "https://127.0.0.1", "allow_private_addresses": True},), ("providers", 0, "issuer")),
        (({"issuer": "https://169.254.169.254", "allow_private_addresses": True},), ("providers", 0, "issuer")),
        (({"issuer": "https://[::1"},), ("providers", 0, "issuer")),
        (({"issuer": "https://a:b@as.example.test"},), ("providers", 0, "issuer")),
        (({"jwks_uri": "http://as.example.test/jwks"},), ("providers", 0, "jwks_uri")),
        (({"jwks_hosts": ("a:65536",)},), ("providers", 0, "jwks_hosts")),
        (({"jwks_hosts": ("[a::b::c]",)},), ("providers", 0, "jwks_hosts")),
        (({}, {"id": "again"}), ("providers", 1, "issuer")),
    ],
)
def test_check_points_at_the_problem(changes, path):
    file = _file(*changes)
    assert [problem.path for problem in check_providers(file)] == [path]
    with pytest.raises(ValueError, match=r"\w"):
        compile_providers(file)


@pytest.mark.parametrize(
    "issuer", ["http://127.0.0.1:1", "http://localhost", "http://as.localhost:80", "http://[::1]:9"]
)
def test_check_permits_http_on_loopback_for_development(issuer):
    assert check_providers(_file({"issuer": issuer, "allow_http": True})) == ()


def test_check_permits_a_private_network_where_the_provider_says_so():
    assert check_providers(_file({"issuer": "https://10.0.0.1", "allow_private_addresses": True})) == ()


def test_compile_knows_where_discovery_may_lead():
    changes = {"issuer": "https://AS.example.test/x", "jwks_hosts": ("keys.example.test", "[2606:2800:21f::1]:8443")}
    hosts = compile_providers(_file(changes))[0].source.hosts
    assert hosts == {("as.example.test", 443), ("keys.example.test", 443), ("2606:2800:21f::1", 8443)}


@pytest.mark.parametrize(
    ("issuer", "form", "url"),
    [
        ("https://a.test", "oidc", "https://a.test/.well-known/openid-configuration"),
        ("https://a.test/", "oidc", "https://a.test/.well-known/openid-configuration"),
        ("https://a.test/x/y", "oidc", "https://a.test/x/y/.well-known/openid-configuration"),
        ("https://a.test:8443", "oauth2", "https://a.test:8443/.well-known/oauth-authorization-server"),
        ("https://a.test/x/y/", "oauth2", "https://a.test/.well-known/oauth-authorization-server/x/y"),
    ],
)
def test_metadata_stands_where_each_specification_puts_it(issuer, form, url):
    assert metadata_url(issuer, form) == url
