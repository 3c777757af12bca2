"""Options, variables, defaults and the page come from one table; a misspelt variable is told, a secret never."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from chassis.listen import HostOptions, ListenAddress
from helpers.services import SHIPPED
from tollhouse import descriptor_options, event_options, options
from tollhouse.__main__ import app
from tollhouse.serve_command import serve_command
from tollhouse.setting import REQUIRED

SETTINGS = [setting for chapter in options.SETTINGS.values() for setting in chapter]
EXTAUTHZ = ("serve", "extauthz", "--policies", str(SHIPPED), "--listen", "127.0.0.1:0")
RATELIMIT = ("serve", "ratelimit", "--policies", str(SHIPPED), "--listen", "127.0.0.1:0")


def test_every_option_of_serve_is_in_the_table_and_the_other_way_round():
    command = typer.main.get_command(app).commands["serve"]
    flags = {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}
    assert flags - {"--help"} == {setting.flag for setting in SETTINGS}
    for parameter in command.params:
        for setting in SETTINGS:
            if setting.flag in parameter.opts:
                assert parameter.envvar == setting.variable


def test_defaults_of_the_command_are_those_of_the_table():
    for name, parameter in inspect.signature(serve_command).parameters.items():
        tables = (options, descriptor_options, event_options)
        setting = next(filter(None, (getattr(table, name.upper(), None) for table in tables)), None)
        if setting is not None and setting.default is not REQUIRED:
            assert parameter.default == setting.default


def test_numbers_have_a_unit_bounds_and_a_default_within_them():
    numbers = [setting for setting in SETTINGS if type(setting.default) in (int, float)]
    assert {setting.flag for setting in numbers} >= {"--drain-seconds", "--lame-duck-seconds", "--max-message-bytes"}
    for setting in numbers:
        assert setting.unit
        assert setting.bounds[0] <= setting.default <= setting.bounds[1]
    HostOptions(ListenAddress.parse("127.0.0.1:0"))


def test_every_secret_is_a_file_and_every_setting_gives_advice():
    secret_words = ("password", "token", "key")
    for setting in SETTINGS:
        assert setting.advice
        if any(word in setting.flag for word in secret_words) and not setting.flag.startswith(
            ("--tls", "--events-tls")
        ):
            assert setting.flag.endswith("-file")
            assert setting.variable.endswith("_FILE")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TOLLHOUSE_CARDKEY_FILE", "; did you mean TOLLHOUSE_CARD_KEY_FILE?"),
        ("TOLLHOUSE_CARD_KEYS_FILE", "; did you mean TOLLHOUSE_CARD_KEY_FILE?"),
        ("TOLLHOUSE_DRAIN_SECOND", "; did you mean TOLLHOUSE_DRAIN_SECONDS?"),
        ("TOLLHOUSE_QQQ", ""),
    ],
)
def test_misspelt_variable_is_told_with_a_hint(name: str, hint: str):
    warnings = options.unknown_variables([name, "PATH", "TOLLHOUSE_LISTEN"])
    assert warnings == [f"the environment variable {name} means nothing here and was ignored{hint}"]


@pytest.mark.parametrize(
    "name",
    [
        "TOLLHOUSE_STORE_PASSWORD_FILE",
        "TOLLHOUSE_EXTAUTHZ_SERVICE_HOST",
        "TOLLHOUSE_PORT",
        "TOLLHOUSE_PORT_9001_TCP_ADDR",
        "TOLLHOUSE_IMAGE",
        "TOLLHOUSELISTEN",
    ],
)
def test_known_and_foreign_variables_are_not_warned_of(name: str):
    assert options.unknown_variables([name]) == []


def test_consent_to_an_open_port_is_no_variable():
    assert options.INSECURE_LISTEN.variable is None
    result = CliRunner().invoke(app, (*EXTAUTHZ[:-1], "0.0.0.0:0"), env={"TOLLHOUSE_INSECURE_LISTEN": "1"})
    assert result.exit_code == 2
    assert "TOLLHOUSE_INSECURE_LISTEN means nothing" in result.stderr


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize("name", ["TOLLHOUSE_STORE", "TOLLHOUSE_TLS_CLIENT_CA", "TOLLHOUSE_ADMIN_TOKEN_FILE"])
def test_variable_that_holds_nothing_is_refused(name: str, value: str):
    result = CliRunner().invoke(app, (*RATELIMIT, "--store", "memory:", "--log-level", "loud"), env={name: value})
    assert result.exit_code == 2
    assert result.stderr == f"tollhouse serve: the environment variable {name} is empty: give it a value, or unset it\n"


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "127.0.0.1:0"])
def test_exposed_limiter_that_nobody_may_tell_outcomes_says_so(listen: str):
    arguments = (*RATELIMIT[:-1], listen, "--insecure-listen", "--store", "redis://s", "--log-level", "loud")
    said = CliRunner().invoke(app, arguments).stderr
    assert ("--outcome-peer-san" in said) is (listen != "127.0.0.1:0")


def test_variable_stands_for_its_option_and_the_option_wins():
    env = {"TOLLHOUSE_LOG_LEVEL": "loud", "TOLLHOUSE_POLICIES": str(SHIPPED), "TOLLHOUSE_LISTEN": "127.0.0.1:0"}
    assert "--log-level must be one of" in CliRunner().invoke(app, ["serve", "extauthz"], env=env).stderr
    result = CliRunner().invoke(app, ["serve", "extauthz", "--log-level", "INFO", "--errors-uri", "x"], env=env)
    assert "--errors-uri must be" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (RATELIMIT, "--store is needed"),
        ((*RATELIMIT, "--store", ""), "--store is needed"),
        ((*RATELIMIT, "--store", "redis://:hunter2@store/0"), "--store-password-file"),
        ((*RATELIMIT, "--store", "redis://user:hunter2@store/0"), "--store-password-file"),
        ((*RATELIMIT, "--store", "unix:///run/s?password=hunter2"), "--store-password-file"),
        ((*RATELIMIT, "--store", "redis://store", "--store-username", "u"), "--store-username needs"),
        ((*RATELIMIT, "--store", "redis://store", "--store-password-file", "/nowhere"), "/nowhere: No such file"),
        ((*RATELIMIT, "--store", "memory:", "--store-password-file", "/nowhere"), "/nowhere: No such file"),
        ((*RATELIMIT, "--store", "memory:", "--store-username", "u"), "asks for no login"),
        ((*RATELIMIT, "--store", "memory:"), "accept it with --single-replica"),
        ((*RATELIMIT, "--store", "embedded:"), "accept it with --single-replica"),
        ((*EXTAUTHZ, "--store", "redis+cluster://store"), "a cluster is for ratelimit"),
        ((*RATELIMIT, "--store", "redis+cluster://:hunter2@store"), "--store-password-file"),
        ((*RATELIMIT, "--store", "redis+sentinel://:hunter2@store/s"), "--store-password-file"),
        ((*RATELIMIT, "--store", "redis://store", "--sentinel-password-file", "/nowhere"), "/nowhere: No such"),
        ((*EXTAUTHZ, "--single-replica"), "--single-replica belongs to ratelimit"),
        ((*RATELIMIT, "--card-key-file", "/nowhere"), "--card-key-file belongs to extauthz"),
        ((*EXTAUTHZ, "--descriptor-key-file", "/nowhere"), "--descriptor-key-file belongs to ratelimit"),
        ((*RATELIMIT, "--store", "redis://s", "--descriptor-key-file", "/nowhere"), "/nowhere: No such file"),
        ((*RATELIMIT, "--outcome-peer-san", "spiffe://a/b"), "are given together"),
        (
            (
                *EXTAUTHZ,
                "--tls-cert",
                "a",
                "--tls-key",
                "b",
                "--tls-client-ca",
                "c",
                "--peer-san",
                "d.example",
                "--outcome-peer-san",
                "d.example",
            ),
            "--outcome-peer-san belongs to ratelimit",
        ),
        ((*EXTAUTHZ, "--card-key-file", "/nowhere"), "/nowhere: No such file"),
        ((*RATELIMIT, "--jwks-snapshot", "/nowhere"), "--jwks-snapshot belongs to extauthz"),
        ((*EXTAUTHZ, "--jwks-snapshot", "/nowhere"), "--jwks-snapshot /nowhere: the directory cannot be read"),
        ((*EXTAUTHZ, "--jwks-snapshot", "/dev/null"), "--jwks-snapshot /dev/null: this is no directory"),
        ((*EXTAUTHZ, "--store-username", "u"), "need --store"),
        ((*EXTAUTHZ, "--store", "embedded:"), "--store embedded: belongs to ratelimit"),
        ((*EXTAUTHZ, "--store", "redis://:hunter2@store/0"), "--store-password-file"),
        ((*RATELIMIT, "--dpop-nonce-key-file", "/nowhere"), "--dpop-nonce-key-file belongs to extauthz"),
        ((*EXTAUTHZ, "--dpop-nonce-key-file", "/nowhere"), "/nowhere: No such file"),
        (("serve", "ratelimit", "--listen", "127.0.0.1:0"), "--policies or --descriptors is needed"),
        (("serve", "extauthz", "--listen", "127.0.0.1:0"), "--policies is needed"),
        ((*EXTAUTHZ, "--descriptors", "/nowhere"), "--descriptors belongs to ratelimit"),
        ((*RATELIMIT, "--descriptors", "/nowhere"), "--descriptors /nowhere is not a directory"),
        ((*RATELIMIT, "--compat", "envoyproxy"), "need --descriptors"),
        ((*RATELIMIT, "--merge-domains"), "need --descriptors"),
        ((*EXTAUTHZ, "--admin", "0.0.0.0:9101"), "--admin-token-file"),
        ((*EXTAUTHZ, "--realm", 'a"b'), "--realm must be"),
        ((*EXTAUTHZ, "--default-timeout-seconds", "5", "--max-timeout-seconds", "1"), "longer than the longest"),
    ],
)
def test_mistake_is_told_and_nothing_secret_repeated(arguments: tuple[str, ...], said: str):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--drain-seconds", "301"), ("--lame-duck-seconds", "-1"), ("--max-message-bytes", "1"), ("--drain-seconds", "x")],
)
def test_number_out_of_its_range_is_refused(flag: str, value: str):
    assert CliRunner().invoke(app, (*EXTAUTHZ, flag, value)).exit_code == 2


def test_broken_card_key_file_is_told_with_its_line_and_without_its_key(tmp_path: Path):
    path = tmp_path / "card.keys"
    path.write_text("k1 aHVudGVyMg==\n")
    result = CliRunner().invoke(app, (*EXTAUTHZ, "--card-key-file", str(path)))
    assert result.exit_code == 2
    assert f"{path}:1: the key must have 32" in result.stderr
    assert "aHVudGVyMg" not in result.output
