"""Kinds of addresses, and which of them may be connected to."""

from __future__ import annotations

import pytest

from chassis.reach import AddressKind, Reach, is_loopback_host, kind_of, may_connect

EVERYTHING = Reach.LOOPBACK | Reach.PRIVATE


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.0.1", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::a00:1", "private"),
        ("fd00::1", "private"),
        ("169.254.169.254", "refused"),
        ("::ffff:169.254.169.254", "refused"),
        ("fe80::1", "refused"),
        ("fe80::1%eth0", "refused"),
        ("fd00:ec2::254", "refused"),
        ("100.100.100.200", "refused"),
        ("0.0.0.0", "refused"),
        ("::", "refused"),
        ("224.0.0.1", "refused"),
        ("ff02::1", "refused"),
        ("240.0.0.1", "refused"),
        ("255.255.255.255", "refused"),
        ("192.0.2.1", "refused"),
        ("93.184.215.14", "public"),
        ("172.32.0.1", "public"),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", "public"),
        ("issuer.test", None),
        ("0x7f.1", None),
        ("", None),
    ],
)
def test_kind_of_knows_what_an_address_leads_to(text, kind):
    found = kind_of(text)
    assert (found.value if found else None) == kind


def test_nothing_but_the_public_internet_over_tls_is_reached_by_default():
    reached = [kind for kind in AddressKind if may_connect(kind, Reach.PUBLIC, is_encrypted=True)]
    assert reached == [AddressKind.PUBLIC]
    assert not any(may_connect(kind, Reach.PUBLIC, is_encrypted=False) for kind in AddressKind)


def test_no_permission_reaches_what_is_refused_or_leaves_this_machine_without_tls():
    assert not may_connect(AddressKind.REFUSED, EVERYTHING, is_encrypted=True)
    assert not may_connect(None, EVERYTHING, is_encrypted=True)
    reached = [kind for kind in AddressKind if may_connect(kind, EVERYTHING, is_encrypted=False)]
    assert reached == [AddressKind.LOOPBACK]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "issuer.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_is_loopback_host_accepts_this_machine(host):
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", ["localhost.test", "10.0.0.1", "", "xlocalhost", "0.0.0.0"])
def test_is_loopback_host_refuses_others(host):
    assert not is_loopback_host(host)
