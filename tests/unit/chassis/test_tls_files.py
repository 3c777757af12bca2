from __future__ import annotations

import datetime as dt
import json
import os
import ssl
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from prometheus_client import CollectorRegistry, generate_latest

import chassis.tls_files
from chassis.envoy_secrets import write_secrets
from chassis.tls import TlsOptions
from chassis.tls_files import Files, TlsInvalid, TlsWatch, load_tls, read_files
from chassis.tls_metrics import register_tls
from helpers.certificates import EXPIRED, GOOD, NOW, ServerFiles, authority, server_pair
from helpers.clock import FakeClock
from helpers.waiting import until
from tollhouse.development_authority import Validity

SIGNER = authority()
PAIR = server_pair(SIGNER)
OTHER = server_pair(SIGNER)
LATER = Validity(NOW + dt.timedelta(days=1), NOW + dt.timedelta(days=2))


@pytest.fixture
def files(tmp_path: Path) -> ServerFiles:
    found = ServerFiles(tmp_path)
    found.put(PAIR, SIGNER.certificate)
    return found


def options(files: ServerFiles) -> TlsOptions:
    tls = files.options().tls
    assert tls is not None
    return tls


def encrypted() -> bytes:
    key = serialization.load_pem_private_key(PAIR.private_key, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def missing(files: ServerFiles) -> None:
    (files.directory / "tls.pem").unlink()


def directory(files: ServerFiles) -> None:
    missing(files)
    (files.directory / "tls.pem").mkdir()


def named_pipe(files: ServerFiles) -> None:
    """Nobody writes into it: whoever waits for a writer waits for ever."""
    (files.directory / "tls.key").unlink()
    os.mkfifo(files.directory / "tls.key")


def endless(files: ServerFiles) -> None:
    files.put_bytes("tls.pem", PAIR.certificate * 3000)


def other_key(files: ServerFiles) -> None:
    files.put_bytes("tls.key", OTHER.private_key)


def swapped(files: ServerFiles) -> None:
    files.put_bytes("tls.pem", PAIR.private_key)


def key_is_certificate(files: ServerFiles) -> None:
    files.put_bytes("tls.key", PAIR.certificate)


def key_is_encrypted(files: ServerFiles) -> None:
    files.put_bytes("tls.key", encrypted())


def key_is_ed25519(files: ServerFiles) -> None:
    files.put_bytes("tls.key", pem(ed25519.Ed25519PrivateKey.generate()))


def key_is_short(files: ServerFiles) -> None:
    files.put_bytes("tls.key", pem(rsa.generate_private_key(65537, 1024)))  # noqa: S505 - refused because it is short


def is_expired(files: ServerFiles) -> None:
    files.put(server_pair(SIGNER, EXPIRED))


def is_not_valid_yet(files: ServerFiles) -> None:
    files.put(server_pair(SIGNER, LATER))


def authority_is_empty(files: ServerFiles) -> None:
    files.put_bytes("ca.pem", b"")


def authority_is_of_no_known_version(files: ServerFiles) -> None:
    files.put_bytes("ca.pem", altered(SIGNER.certificate, "a003020102", "a003020107"))


def name_of_authority_is_no_text(files: ServerFiles) -> None:
    files.put_bytes("ca.pem", altered(SIGNER.certificate, b"one".hex(), "ff6e65"))


def extension_is_cut(files: ServerFiles) -> None:
    files.put_bytes("tls.pem", altered(PAIR.certificate, "0603551d11", "0603551d0f"))


def altered(certificate: bytes, old: str, new: str) -> bytes:
    """Return a PEM certificate with some of its bytes, as hex digits, exchanged where they come first."""
    der = ssl.PEM_cert_to_DER_cert(certificate.decode())
    assert bytes.fromhex(old) in der
    return ssl.DER_cert_to_PEM_cert(der.replace(bytes.fromhex(old), bytes.fromhex(new), 1)).encode()


def authority_has_expired(files: ServerFiles) -> None:
    files.put_bytes("ca.pem", server_pair(SIGNER, EXPIRED).certificate)


@pytest.mark.parametrize(
    ("breaks", "text"),
    [
        (missing, "cannot be read: No such file"),
        (directory, "cannot be read: Is a directory"),
        (named_pipe, "is not a file"),
        (endless, "longer than 1048576 bytes"),
        (other_key, "does not belong to the first certificate"),
        (swapped, "holds no PEM certificate"),
        (key_is_certificate, "holds no PEM key"),
        (key_is_encrypted, "is encrypted"),
        (key_is_ed25519, "must be RSA of 2048 bits or more, or ECDSA"),
        (key_is_short, "must be RSA of 2048 bits or more, or ECDSA"),
        (is_expired, "expired at"),
        (is_not_valid_yet, "is not valid before"),
        (authority_is_empty, "client CA .* holds no PEM certificate"),
        (name_of_authority_is_no_text, "client CA .* holds no PEM certificate"),
        (extension_is_cut, "TLS certificate .* holds no PEM certificate"),
        (authority_is_of_no_known_version, "client CA .* holds no PEM certificate"),
        (authority_has_expired, "no caller could connect"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_files_that_cannot_be_served_with_are_refused(
    files: ServerFiles, breaks: Callable[[ServerFiles], None], text: str
):
    breaks(files)

    with pytest.raises(TlsInvalid, match=text) as caught:
        load_tls(options(files), NOW.timestamp())

    assert "PRIVATE KEY" not in str(caught.value)


def test_key_that_everybody_can_read_is_a_warning(files: ServerFiles):
    assert load_tls(options(files), NOW.timestamp()).warnings == ()
    (files.directory / "tls.key").chmod(0o644)
    (warning,) = load_tls(options(files), NOW.timestamp()).warnings
    assert "can be read by every user" in warning


def test_key_is_in_no_representation(files: ServerFiles):
    material = load_tls(options(files), NOW.timestamp())
    assert "PRIVATE" not in repr(material) + repr(read_files(options(files)))


def test_what_is_handed_on_is_what_was_checked(files: ServerFiles):
    other = authority("other").certificate.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
    files.put_bytes("ca.pem", b"# ours\n" + SIGNER.certificate + other + PAIR.private_key)
    material = load_tls(options(files), NOW.timestamp())
    assert (material.client_ca, material.certificate) == (SIGNER.certificate, PAIR.certificate)


def test_bundle_with_one_living_authority_is_taken(files: ServerFiles):
    files.put_bytes("ca.pem", server_pair(SIGNER, EXPIRED).certificate + SIGNER.certificate)
    assert load_tls(options(files), NOW.timestamp()).client_ca is not None


def watch(files: ServerFiles, clock: FakeClock | None = None) -> TlsWatch:
    return TlsWatch(options(files), clock or FakeClock(NOW.timestamp()))


def look(watched: TlsWatch, files: ServerFiles, times: int = 2) -> None:
    for _ in range(times):
        try:
            watched.offer(read_files(options(files)))
        except TlsInvalid as problem:
            watched.offer(problem)


def test_new_files_are_taken_once_they_were_seen_twice(files: ServerFiles):
    watched, taken = watch(files), []
    watched.subscribe(lambda material: taken.append(material.certificate))
    files.put(OTHER)

    look(watched, files, 1)
    assert taken == [PAIR.certificate]
    look(watched, files, 3)
    assert taken == [PAIR.certificate, OTHER.certificate]
    assert watched.reloads == 1


def test_pair_that_is_written_between_two_looks_is_no_failure(files: ServerFiles):
    watched = watch(files)
    files.put_bytes("tls.key", OTHER.private_key)
    look(watched, files, 1)
    files.put_bytes("tls.pem", OTHER.certificate)
    look(watched, files)

    assert (watched.failures, watched.current.certificate) == (0, OTHER.certificate)


def test_broken_files_count_once_and_good_ones_end_the_trouble(files: ServerFiles):
    watched = watch(files)
    other_key(files)
    look(watched, files, 5)
    assert (watched.failures, watched.current.certificate) == (1, PAIR.certificate)
    assert [text for text in watched.warnings() if text.startswith("the last good TLS files serve on")]

    files.put(OTHER)
    look(watched, files)
    assert (watched.problem, watched.current.certificate) == ("", OTHER.certificate)


def test_old_files_that_come_back_end_the_trouble(files: ServerFiles):
    watched = watch(files)
    other_key(files)
    look(watched, files)
    files.put(PAIR)
    look(watched, files)
    assert watched.problem == ""


def test_material_that_cannot_be_handed_on_is_tried_again(files: ServerFiles):
    watched, room = watch(files), [True]

    def take(_: object) -> None:
        if not room[0]:
            raise OSError(28, "No space left on device")

    watched.subscribe(take)
    files.put(OTHER)
    room[0] = False
    look(watched, files)
    assert "No space left" in watched.problem
    assert watched.current.certificate == PAIR.certificate

    room[0] = True
    look(watched, files, 1)
    assert (watched.problem, watched.current.certificate) == ("", OTHER.certificate)


@pytest.mark.parametrize(
    ("days", "text"), [(22, None), (24, "expires in 6.0 days"), (31, "has expired")], ids=["far", "near", "over"]
)
def test_end_of_a_certificate_is_told_before_it_comes(files: ServerFiles, days: int, text: str | None):
    clock = FakeClock(NOW.timestamp())
    watched = watch(files, clock)
    clock.advance(days * 86400)

    said = watched.warnings()
    assert len(said) == (text is not None)
    assert text is None or text in said[0]


def test_metrics_follow_the_watch(files: ServerFiles):
    registry, watched = CollectorRegistry(auto_describe=True), watch(files)
    register_tls(registry, watched)
    other_key(files)
    look(watched, files)

    assert registry.get_sample_value("tollhouse_tls_stale") == 1
    assert registry.get_sample_value("tollhouse_tls_reload_failures_total") == 1
    assert registry.get_sample_value("tollhouse_tls_certificate_expiry_seconds") == pytest.approx(
        (GOOD.end - NOW).total_seconds(), abs=1
    )
    assert b"PRIVATE" not in generate_latest(registry)


def test_secrets_of_envoy_are_closed_and_replaced_as_a_whole(files: ServerFiles, tmp_path: Path):
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for pair in (PAIR, OTHER):
        files.put(pair)
        write_secrets(runtime, load_tls(options(files), NOW.timestamp()))

    assert {path.name for path in runtime.iterdir()} == {"certificate.json", "client_ca.json"}
    for path in runtime.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (secret,) = json.loads(path.read_text())["resources"]
        assert secret["name"] == path.stem


class StuckDisk(TlsWatch):
    """A watch whose reads wait until they are let go."""

    def __init__(self, files: ServerFiles) -> None:
        super().__init__(options(files), FakeClock(NOW.timestamp()), poll_seconds=0.001)
        self.reads = 0
        self.let_go = threading.Event()

    def _look(self) -> Files | TlsInvalid:
        self.reads += 1
        self.let_go.wait(10.0)
        return super()._look()


async def test_a_disk_that_does_not_answer_takes_one_thread(files: ServerFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chassis.tls_files, "_READ_SECONDS", 0.01)
    watch = StuckDisk(files)
    offers: list[Files | TlsInvalid] = []
    monkeypatch.setattr(watch, "offer", offers.append)
    await watch.start()
    try:
        await until(lambda: len(offers) >= 5)
        assert all("took longer" in str(found) for found in offers)
        assert watch.reads == 1
        watch.let_go.set()
        await until(lambda: isinstance(offers[-1], Files))
    finally:
        watch.let_go.set()
        await watch.stop()
