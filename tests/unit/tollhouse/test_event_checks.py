"""An events listener that would be open to forgers, or that nobody would hear, is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policy.settings import ServiceSettings
from tollhouse.event_checks import check_event_settings

PLAIN = ServiceSettings(policies="/set", store="redis://127.0.0.1:1/0", events="127.0.0.1:8443")
FILES = {"events_tls_cert": "/tls.pem", "events_tls_key": "/tls.key"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"events": "0.0.0.0:8443"}, "--events-tls-cert"),
        ({"events": "events.example.test:8443"}, "no listen host"),
        ({"events": "unix:/run/events.sock"}, "HOST:PORT"),
        ({"events_tls_cert": "/tls.pem"}, "together"),
        ({"events_tls_key": "/tls.key"}, "together"),
        ({"store": ""}, "--store"),
        ({"events": "", **FILES}, "needs --events"),
        ({"events": "", "events_push_token_file": "/token"}, "needs --events"),
        ({"events_push_token_file": "/is/not/there"}, "/is/not/there"),
    ],
)
def test_setting_is_refused_by_its_option(changes, said):
    with pytest.raises(ValueError, match=said):
        check_event_settings("extauthz", replace(PLAIN, **changes))


def test_short_token_of_senders_is_refused_and_not_shown(tmp_path):
    path = tmp_path / "token"
    path.write_text("geheim")
    with pytest.raises(ValueError, match="token") as caught:
        check_event_settings("extauthz", replace(PLAIN, events_push_token_file=str(path)))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("name", ["events", "events_tls_cert", "events_push_token_file"])
def test_ratelimit_takes_none_of_them(name):
    with pytest.raises(ValueError, match="belongs to extauthz"):
        check_event_settings("ratelimit", ServiceSettings(policies="/set", **{name: "127.0.0.1:1"}))


@pytest.mark.parametrize("changes", [{}, FILES, {"events": "0.0.0.0:8443", **FILES}, {"events": "", "store": ""}])
def test_good_settings_pass(changes):
    check_event_settings("extauthz", replace(PLAIN, **changes))
