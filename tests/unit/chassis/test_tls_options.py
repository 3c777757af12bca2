import json

import pytest

from chassis.health import CHECK_METHOD
from chassis.listen import HostOptions, ListenAddress
from chassis.tls import PeerSan, SanType, TlsOptions, peer_rules

LOCAL = ListenAddress.parse("127.0.0.1:9001")
EXPOSED = ListenAddress.parse("0.0.0.0:9001")
URI = "spiffe://tollhouse.example/envoy"
SERVER_ONLY = TlsOptions("/tls/cert.pem", "/tls/key.pem")
MUTUAL = TlsOptions("/tls/cert.pem", "/tls/key.pem", "/tls/ca.pem", (URI, "envoy.example"))
APART = TlsOptions(
    "/tls/cert.pem", "/tls/key.pem", "/tls/ca.pem", (URI,), (("/log.v1.Log/Send", ("log.example", URI)),)
)


def test_form_decides_the_type_of_a_name():
    assert MUTUAL.peers == (PeerSan(SanType.URI, URI), PeerSan(SanType.DNS, "envoy.example"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*.example",
        "spiffe://*.example/x y",
        "a b",
        "-x.example",
        "x..example",
        "://x",
        "a" * 64,
        "x\n",
        "spiffe://ä",
    ],
)
def test_name_that_no_certificate_carries_like_this_is_refused(text: str):
    with pytest.raises(ValueError, match="no peer SAN"):
        PeerSan.parse(text)


def test_authority_without_names_is_refused():
    with pytest.raises(ValueError, match="name the callers"):
        TlsOptions("/c", "/k", "/ca")


def test_names_without_an_authority_are_refused():
    with pytest.raises(ValueError, match="proves nothing"):
        TlsOptions("/c", "/k", None, (URI,))
    with pytest.raises(ValueError, match="proves nothing"):
        TlsOptions("/c", "/k", None, (), (("/a.B/C", (URI,)),))


def test_exposed_listener_is_served_with_mutual_tls():
    assert HostOptions(EXPOSED, tls=MUTUAL).is_mutual_tls


@pytest.mark.parametrize("tls", [None, SERVER_ONLY], ids=["plain text", "server certificate alone"])
def test_exposed_listener_that_lets_in_whoever_calls_needs_consent(tls: TlsOptions | None):
    with pytest.raises(ValueError, match="mutual TLS or an explicit consent"):
        HostOptions(EXPOSED, tls=tls)
    assert HostOptions(EXPOSED, tls=tls, is_insecure_listen=True).tls == tls


@pytest.mark.parametrize("tls", [SERVER_ONLY, MUTUAL, APART], ids=["server", "mutual", "apart"])
def test_options_with_tls_travel_as_json(tls: TlsOptions):
    options = HostOptions(LOCAL, tls=tls)
    assert HostOptions.from_json(options.to_json()) == options


def test_json_cannot_take_the_names_away():
    fields = json.loads(HostOptions(LOCAL, tls=MUTUAL).to_json())
    fields["tls"]["peer_sans"] = []
    with pytest.raises(ValueError, match="name the callers"):
        HostOptions.from_json(json.dumps(fields))


def test_every_method_has_a_rule_and_health_is_for_all_callers():
    rules = {rule.method: rule.peers for rule in peer_rules(MUTUAL, CHECK_METHOD)}
    assert rules == {CHECK_METHOD: MUTUAL.peers, None: MUTUAL.peers}


def test_method_with_callers_of_its_own_is_not_for_the_others():
    uri, dns = PeerSan(SanType.URI, URI), PeerSan(SanType.DNS, "log.example")
    rules = {rule.method: rule.peers for rule in peer_rules(APART, CHECK_METHOD)}
    assert rules == {CHECK_METHOD: (uri, dns), "/log.v1.Log/Send": (dns, uri), None: (uri,)}
