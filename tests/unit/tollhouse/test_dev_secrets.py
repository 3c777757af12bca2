import base64
import datetime as dt
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from typer.testing import CliRunner

from tollhouse.__main__ import app
from tollhouse.dev_secrets import ENVOY_IDENTITY, Readers, SecretsRefused, write_dev_secrets

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
NAMES = {
    "ca.pem",
    "card.keys",
    "store.password",
    *(f"{name}.{end}" for name in ("envoy", "gate", "extauthz", "ratelimit", "issuer") for end in ("key", "pem")),
}


def write(directory: Path, *, is_forced: bool = False, readers: Readers | None = None) -> None:
    write_dev_secrets(directory, readers or Readers(), is_forced=is_forced, now=NOW)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_dev_secrets_are_closed_to_others(tmp_path: Path):
    write(tmp_path / "new" / "secrets")
    files = list((tmp_path / "new" / "secrets").iterdir())

    assert {path.name for path in files} == NAMES
    assert {mode(path) for path in files} == {0o600}
    assert mode(tmp_path / "new" / "secrets") == 0o700


def test_dev_secrets_with_a_group_are_open_to_it_alone(tmp_path: Path):
    write(tmp_path / "secrets", readers=Readers(group=tmp_path.stat().st_gid))

    assert mode(tmp_path / "secrets") == 0o750
    assert {mode(path) for path in (tmp_path / "secrets").iterdir()} == {0o640}


@pytest.mark.parametrize("name", ["extauthz", "ratelimit"])
def test_certificate_of_a_service_is_good_for_its_name_and_for_loopback(tmp_path: Path, name: str):
    write(tmp_path)
    trust = PolicyBuilder().store(Store([certificate(tmp_path / "ca.pem")])).time(NOW)

    for host in (x509.DNSName(name), x509.DNSName("localhost")):
        trust.build_server_verifier(host).verify(certificate(tmp_path / f"{name}.pem"), [])
    with pytest.raises(VerificationError, match="subjectAltName"):
        trust.build_server_verifier(x509.DNSName("gate")).verify(certificate(tmp_path / f"{name}.pem"), [])


def test_certificate_of_envoy_is_good_for_a_client_alone_and_names_it(tmp_path: Path):
    write(tmp_path)
    trust = PolicyBuilder().store(Store([certificate(tmp_path / "ca.pem")])).time(NOW)
    envoy = certificate(tmp_path / "envoy.pem")

    verified = trust.build_client_verifier().verify(envoy, [])

    assert [name.value for name in verified.subjects or []] == [ENVOY_IDENTITY]
    with pytest.raises(VerificationError):
        trust.build_client_verifier().verify(certificate(tmp_path / "extauthz.pem"), [])
    assert envoy.not_valid_after_utc - NOW == dt.timedelta(days=30)


@pytest.mark.parametrize("name", ["envoy", "gate", "extauthz", "ratelimit"])
def test_key_belongs_to_its_certificate(tmp_path: Path, name: str):
    write(tmp_path)
    key = load_pem_private_key((tmp_path / f"{name}.key").read_bytes(), None)

    assert key.public_key() == certificate(tmp_path / f"{name}.pem").public_key()


def test_card_key_is_one_line_of_32_random_bytes(tmp_path: Path):
    write(tmp_path)
    lines = (tmp_path / "card.keys").read_text().splitlines()
    key_id, _, key = next(line for line in lines if not line.startswith("#")).partition(" ")

    assert key_id == f"dev-{NOW:%Y%m%d}"
    assert len(base64.b64decode(key, validate=True)) == 32


def test_existing_secrets_stay_unless_forced(tmp_path: Path):
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(SecretsRefused, match="--force"):
        write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    write(tmp_path, is_forced=True)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_command_prints_the_files_and_no_key(tmp_path: Path):
    first = CliRunner().invoke(app, ["dev-secrets", str(tmp_path / "s")])
    again = CliRunner().invoke(app, ["dev-secrets", str(tmp_path / "s")])

    assert first.exit_code == 0
    assert {Path(line).name for line in first.stdout.split()} == NAMES
    assert again.exit_code == 2
    assert "--force" in again.stderr


def test_directory_that_cannot_be_made_is_told_in_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")

    run = CliRunner().invoke(app, ["dev-secrets", str(tmp_path / "file" / "s")])

    assert run.exit_code == 2
    assert run.stderr.count("\n") == 1
