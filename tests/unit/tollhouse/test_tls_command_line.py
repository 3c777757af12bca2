from pathlib import Path

import pytest
from typer.testing import CliRunner

from tollhouse.__main__ import app
from tollhouse.serve import TlsRequest

EXTAUTHZ = ("serve", "extauthz", "--policies", "policies", "--listen")
PAIR = ("--tls-cert", "c.pem", "--tls-key", "c.key")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("127.0.0.1:0", "--tls-cert", "c.pem"), "are given together"),
        (("127.0.0.1:0", "--tls-key", "c.key"), "are given together"),
        (("127.0.0.1:0", "--tls-client-ca", "ca.pem", "--peer-san", "x.example"), "are given together"),
        (("127.0.0.1:0", "--peer-san", "x.example"), "are given together"),
        (("127.0.0.1:0", *PAIR, "--tls-client-ca", "ca.pem"), "name the callers"),
        (("127.0.0.1:0", *PAIR, "--peer-san", "x.example"), "proves nothing"),
        (("127.0.0.1:0", *PAIR, "--tls-client-ca", "ca.pem", "--peer-san", "*.example"), "no wildcards"),
        (("0.0.0.0:0", *PAIR), "Have callers prove who they are"),
    ],
)
def test_half_a_tls_is_refused_with_one_line(options: tuple[str, ...], said: str):
    result = CliRunner().invoke(app, (*EXTAUTHZ, *options))

    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_mutual_tls_needs_no_consent_to_listen_for_other_machines():
    mutual = (*PAIR, "--tls-client-ca", "ca.pem", "--peer-san", "spiffe://x.example/envoy")

    # Refused for something else, which is looked at later.
    result = CliRunner().invoke(app, (*EXTAUTHZ, "0.0.0.0:0", *mutual, "--log-level", "loud"))

    assert "--log-level" in result.stderr
    assert "--listen" not in result.stderr


def test_files_are_absolute_for_the_process_that_reads_them():
    tls = TlsRequest(Path("c.pem"), Path("c.key"), Path("ca.pem"), ("x.example",)).to_options()

    assert tls is not None
    assert {tls.certificate_file, tls.private_key_file, tls.client_ca_file} == {
        str(Path(name).absolute()) for name in ("c.pem", "c.key", "ca.pem")
    }


def test_no_tls_option_is_no_tls():
    assert TlsRequest().to_options() is None
