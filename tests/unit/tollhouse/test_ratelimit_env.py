"""`tollhouse import ratelimit-env`: the Go server's environment as ours, with a reason for whatever is left out."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from tollhouse.__main__ import app
from tollhouse.options import unknown_variables
from tollhouse.ratelimit_env import render, translate

EVERYTHING = {
    "USE_STATSD": "false",
    "USE_PROMETHEUS": "true",
    "PROMETHEUS_ADDR": ":9191",
    "RUNTIME_ROOT": "/data",
    "RUNTIME_SUBDIRECTORY": "ratelimit",
    "RUNTIME_WATCH_ROOT": "false",
    "RUNTIME_IGNOREDOTFILES": "true",
    "MERGE_DOMAIN_CONFIG": "true",
    "GRPC_PORT": "9081",
    "GRPC_SERVER_USE_TLS": "true",
    "GRPC_SERVER_TLS_CERT": "/tls/cert.pem",
    "GRPC_SERVER_TLS_KEY": "/tls/key.pem",
    "GRPC_CLIENT_TLS_CACERT": "/tls/ca.pem",
    "GRPC_CLIENT_TLS_SAN": "envoy.example",
    "REDIS_SOCKET_TYPE": "tcp",
    "REDIS_URL": "redis.example:6379",
    "REDIS_AUTH": "limiter:hunter2",
    "REDIS_TLS": "true",
    "REDIS_TLS_CACERT": "/tls/redis-ca.pem",
    "REDIS_POOL_SIZE": "20",
    "REDIS_PERSECOND": "true",
    "REDIS_PERSECOND_SOCKET_TYPE": "tcp",
    "REDIS_PERSECOND_URL": "second.example:6379",
    "REDIS_PERSECOND_AUTH": "hunter3",
    "CACHE_KEY_PREFIX": "pfx:",
    "EXPIRATION_JITTER_MAX_SECONDS": "0",
    "LOCAL_CACHE_SIZE_IN_BYTES": "1048576",
    "NEAR_LIMIT_RATIO": "0.9",
    "STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT": "1",
    "SHADOW_MODE": "T",
    "QUOTA_MODE": "true",
    "LIMIT_RESPONSE_HEADERS_ENABLED": "true",
    "LIMIT_RESET_HEADER": "X-Reset",
    "RESPONSE_DYNAMIC_METADATA": "true",
    "LOG_LEVEL": "warn",
    "PORT": "8080",
    "TRACING_ENABLED": "false",
    "MEMCACHE_HOST_PORT": "cache:11211",
    "CONFIG_GRPC_XDS_NODE_ID": "n",
    "LOGLEVEL": "x",
}


def variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"^#?(TOLLHOUSE_[A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_every_setting_is_carried_over_or_said_to_have_no_equivalent():
    text = render(translate(EVERYTHING, is_file=True))
    assert variables(text) == {
        "TOLLHOUSE_DESCRIPTORS": "/data/ratelimit/config",
        "TOLLHOUSE_COMPAT": "envoyproxy",
        "TOLLHOUSE_MERGE_DOMAINS": "true",
        "TOLLHOUSE_LISTEN": "0.0.0.0:9081",
        "TOLLHOUSE_TLS_CERT": "/tls/cert.pem",
        "TOLLHOUSE_TLS_KEY": "/tls/key.pem",
        "TOLLHOUSE_TLS_CLIENT_CA": "/tls/ca.pem",
        "TOLLHOUSE_PEER_SAN": "envoy.example",
        "TOLLHOUSE_STORE": "'rediss://redis.example:6379/0?ssl_ca_certs=/tls/redis-ca.pem'",
        "TOLLHOUSE_STORE_PASSWORD_FILE": "/etc/tollhouse/store.password",
        "TOLLHOUSE_STORE_USERNAME": "limiter",
        "TOLLHOUSE_STORE_PER_SECOND": "redis://second.example:6379/0",
        "TOLLHOUSE_COUNTER_PREFIX": "pfx:",
        "TOLLHOUSE_EXPIRATION_JITTER_SECONDS": "0",
        "TOLLHOUSE_LOCAL_CACHE_SIZE": "10485",
        "TOLLHOUSE_NEAR_LIMIT_RATIO": "0.9",
        "TOLLHOUSE_STOP_INCREMENT_WHEN_OVER": "true",
        "TOLLHOUSE_SHADOW_MODE": "true",
        "TOLLHOUSE_QUOTA_MODE": "true",
        "TOLLHOUSE_LIMIT_HEADERS": "RateLimit-Limit,RateLimit-Remaining,X-Reset",
        "TOLLHOUSE_DESCRIPTOR_METADATA": "true",
        "TOLLHOUSE_LOG_LEVEL": "WARNING",
        "TOLLHOUSE_ADMIN": "127.0.0.1:9191",
        "TOLLHOUSE_JSON_LISTEN": "127.0.0.1:8080",
    }
    assert "\n#TOLLHOUSE_JSON_LISTEN=" in text
    assert "LOGLEVEL is no setting of envoyproxy/ratelimit" in text
    for name in ("USE_STATSD", "RUNTIME_WATCH_ROOT", "REDIS_POOL_SIZE", "MEMCACHE_HOST_PORT", "TRACING_ENABLED"):
        assert f"# {name} has no equivalent: " in text


def test_secrets_are_never_repeated():
    for auth, url in (("hunter2", "redis.example:6379"), ("", "redis://:hunter2@redis.example:6379")):
        text = render(translate({**EVERYTHING, "REDIS_AUTH": auth, "REDIS_URL": url}, is_file=True))
        assert "hunter" not in text


def test_sentinels_get_a_password_file_of_their_own():
    lines = translate({"REDIS_SENTINEL_AUTH": "hunter2"}, is_file=True)
    assert variables(render(lines))["TOLLHOUSE_SENTINEL_PASSWORD_FILE"] == "/etc/tollhouse/sentinel.password"
    assert "hunter2" not in render(lines)


def test_without_a_setting_its_defaults_are_carried_over():
    text = render(translate({"HOME": "/root", "TOLLHOUSE_X": "1"}, is_file=False))
    assert variables(text) == {
        "TOLLHOUSE_DESCRIPTORS": "/srv/runtime_data/current/config",
        "TOLLHOUSE_COMPAT": "envoyproxy",
        "TOLLHOUSE_LISTEN": "0.0.0.0:8081",
        "TOLLHOUSE_STORE": "unix:///var/run/nutcracker/ratelimit.sock",
    }
    assert "HOME" not in text


def test_serve_takes_what_is_printed(tmp_path):
    (tmp_path / "config").mkdir()
    given = {**EVERYTHING, "RUNTIME_ROOT": str(tmp_path), "RUNTIME_SUBDIRECTORY": "", "REDIS_AUTH": ""}
    given |= {"EXPIRATION_JITTER_MAX_SECONDS": "999999", "LOCAL_CACHE_SIZE_IN_BYTES": "1000000000"}
    lines = translate(given, is_file=True)
    environment = {line.variable: line.value for line in lines if line.variable and not line.is_off}
    result = CliRunner().invoke(app, ["serve", "ratelimit", "--log-level", "loud"], env=environment)
    assert result.stderr.startswith("tollhouse serve: --log-level must be one of ")


def test_what_is_printed_is_known_to_serve():
    text = render(translate(EVERYTHING, is_file=True))
    assert unknown_variables(variables(text)) == []


@pytest.mark.parametrize(
    ("given", "store"),
    [
        ({"REDIS_TYPE": "SENTINEL", "REDIS_URL": "main,a:26379,b:26379"}, "redis+sentinel://a:26379,b:26379/main"),
        ({"REDIS_TYPE": "cluster", "REDIS_URL": "a:6379,b:6379"}, "redis+cluster://a:6379,b:6379"),
        ({"REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": "[::1]:6379"}, "redis://[::1]:6379/0"),
        ({"REDIS_URL": "/run/redis.sock"}, "unix:///run/redis.sock"),
    ],
)
def test_store_is_named_by_a_url(given, store):
    assert variables(render(translate(given, is_file=True)))["TOLLHOUSE_STORE"].strip("'") == store


@pytest.mark.parametrize(
    "given",
    [
        {"SHADOW_MODE": "yes"},
        {"GRPC_PORT": "http"},
        {"REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": "nowhere"},
        {"REDIS_TYPE": "SENTINEL", "REDIS_URL": "a:1"},
        {"REDIS_TYPE": "CLUSTER", "REDIS_URL": "a"},
        {"LOG_LEVEL": "loud"},
        {"NEAR_LIMIT_RATIO": "much"},
    ],
)
def test_value_that_the_go_server_would_not_take_is_named_and_fails(given, tmp_path):
    path = tmp_path / "ratelimit.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    result = CliRunner().invoke(app, ["import", "ratelimit-env", str(path)])
    assert result.exit_code == 1
    assert f"# NOT TRANSLATED: {list(given)[-1]}" in result.stdout


def test_file_may_hold_comments_quotes_and_exports(tmp_path):
    path = tmp_path / "ratelimit.env"
    path.write_text("# comment\n\nexport SHADOW_MODE='true'\nCACHE_KEY_PREFIX=\"a b\" # why\n")
    result = CliRunner().invoke(app, ["import", "ratelimit-env", str(path)])
    assert result.exit_code == 0
    assert variables(result.stdout)["TOLLHOUSE_COUNTER_PREFIX"] == "'a b'"
    assert variables(result.stdout)["TOLLHOUSE_SHADOW_MODE"] == "true"


@pytest.mark.parametrize("line", ["REDIS_AUTH 'hunter2'", "REDIS_AUTH='hunter2", "=hunter2"])
def test_line_that_is_no_assignment_is_told_without_its_text(line, tmp_path):
    path = tmp_path / "ratelimit.env"
    path.write_text(f"PORT=1\n{line}\n")
    result = CliRunner().invoke(app, ["import", "ratelimit-env", str(path)])
    assert result.exit_code == 2
    assert f"{path}:2: " in result.stderr
    assert "hunter2" not in result.output


def test_file_that_is_not_there_is_told(tmp_path):
    result = CliRunner().invoke(app, ["import", "ratelimit-env", str(tmp_path / "no.env")])
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_environment_of_the_process_is_read_without_a_file():
    result = CliRunner().invoke(app, ["import", "ratelimit-env"], env={"SHADOW_MODE": "true"})
    assert variables(result.stdout)["TOLLHOUSE_SHADOW_MODE"] == "true"
