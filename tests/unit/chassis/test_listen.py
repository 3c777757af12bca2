"""Listen addresses and host options: what is understood, what is refused, what travels as JSON."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chassis.listen import HostOptions, ListenAddress

LOCAL = ListenAddress.parse("127.0.0.1:9001")


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("127.0.0.1:9001", True),
        ("127.9.9.9:0", True),
        ("localhost:65535", True),
        ("[::1]:9001", True),
        ("unix:/run/tollhouse/x.sock", True),
        ("0.0.0.0:9001", False),
        ("[::]:9001", False),
        ("10.1.2.3:9001", False),
    ],
)
def test_address_reads_back_and_knows_who_reaches_it(text: str, is_local: bool):
    address = ListenAddress.parse(text)
    assert str(address) == text
    assert address.is_local is is_local


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "9001", ":9001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:\u0661"),
        *("::1:1", "[127.0.0.1]:1", "example.org:1"),
        *("unix:", "unix:x.sock", "unix:@x", "unix:/" + "x" * 200, "unix:/a\0b"),
    ],
)
def test_anything_else_is_refused_with_a_text(text: str):
    with pytest.raises(ValueError, match="is no listen"):
        ListenAddress.parse(text)


def test_options_travel_as_json():
    options = HostOptions(LOCAL, admin=ListenAddress.parse("unix:/run/a.sock"), drain_seconds=2.5)
    assert HostOptions.from_json(options.to_json()) == options
    assert HostOptions.from_json(HostOptions(LOCAL).to_json()) == HostOptions(LOCAL)


@pytest.mark.parametrize("text", ["{}", "[]", "x", '{"listen": "127.0.0.1:1", "admin": null, "what": 1}'])
def test_other_json_is_a_value_error(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - any text will do
        HostOptions.from_json(text)


def test_exposed_listener_needs_consent():
    exposed = ListenAddress.parse("0.0.0.0:9001")
    with pytest.raises(ValueError, match="other machines"):
        HostOptions(exposed)
    assert HostOptions(exposed, is_insecure_listen=True).listen == exposed


def test_exposed_admin_pages_need_a_token_file_and_no_consent_replaces_it():
    exposed = ListenAddress.parse("0.0.0.0:1")
    with pytest.raises(ValueError, match="needs a token file"):
        replace(HostOptions(LOCAL, is_insecure_listen=True), admin=exposed)
    options = HostOptions(LOCAL, admin=exposed, admin_token_file="/run/secrets/admin.token")
    assert HostOptions.from_json(options.to_json()) == options


def test_default_deadline_above_the_longest_is_refused():
    with pytest.raises(ValueError, match="longer than the longest"):
        HostOptions(LOCAL, default_timeout_seconds=11.0)
