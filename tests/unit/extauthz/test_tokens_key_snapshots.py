"""Keys on disk: what a later start may use of them, and everything that makes a file worthless."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chassis.http_client import HttpClient
from extauthz.model import Deny, Principal, Unavailable
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.gate import TokenGate
from extauthz.tokens.key_sets import KeySets
from extauthz.tokens.key_snapshots import KeyDocument, KeySnapshots, SnapshotRefused, check_directory
from helpers.clock import FakeClock
from helpers.issuer import SigningKey, good_claims, mint
from helpers.requests import bearer_request
from helpers.token_rig import providers

KEY = SigningKey("ES256", kid="k1")
GONE = "http://127.0.0.1:9"
"""Where nobody listens."""


def _body(*jwks: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(jwks)}).encode()


def _write(directory: Path, body: bytes = b"", *, clock: FakeClock | None = None, **overrides: Any) -> Path:
    """Keep keys as an earlier process did, and return the file."""
    snapshots = KeySnapshots(str(directory))
    provider = providers(GONE, **overrides)[0]
    snapshots.write(provider, KeyDocument(body or _body(KEY.jwk()), (clock or FakeClock()).wall(), None))
    return snapshots.path(provider)


class ColdStart:
    """A process that starts while its issuer is away."""

    def __init__(self, directory: Path, clock: FakeClock, **overrides: Any) -> None:
        self.clock = clock
        self.http = HttpClient()
        self.keys = KeySets(self.http, clock, KeySnapshots(str(directory)))
        compiled = providers(GONE, **overrides)
        self.keys.follow(compiled)
        self.gate = TokenGate(compiled, self.keys, ClaimsCache(), clock)

    async def __aenter__(self) -> ColdStart:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.keys.stop()
        await self.http.stop()

    async def verdict(self, key: SigningKey = KEY) -> Principal | Deny | Unavailable:
        token = mint(key, good_claims(GONE, self.clock.now))
        return await self.gate.authenticate(bearer_request(token), self.clock.monotonic() + 5)


async def test_start_without_the_issuer_verifies_with_the_keys_of_before(tmp_path):
    _write(tmp_path)
    async with ColdStart(tmp_path, FakeClock()) as start:
        assert isinstance(await start.verdict(), Principal)
        assert start.keys.warnings() == (f"keys of token issuer {GONE} are of a snapshot",)
        assert isinstance(await start.verdict(SigningKey("ES256", kid="k2")), Unavailable)
        stranger = SigningKey("ES256", kid="k1")
        assert isinstance(await start.verdict(stranger), Deny)


async def test_start_without_the_issuer_and_without_a_snapshot_is_not_ready_and_answers_503(tmp_path):
    async with ColdStart(tmp_path, FakeClock()) as start:
        assert isinstance(await start.verdict(), Unavailable)
        assert start.keys.readiness() == (f"keys of token issuer {GONE}",)


async def test_start_is_ready_once_the_issuer_was_asked_and_did_not_answer(tmp_path):
    _write(tmp_path)
    async with ColdStart(tmp_path, FakeClock()) as start:
        assert start.keys.readiness() == (f"keys of token issuer {GONE}",)
        await start.keys.refresh_due()
        assert start.keys.readiness() == ()


@pytest.mark.parametrize(
    ("seconds", "is_used"), [(600 + 3599, True), (600 + 3600, False), (-60, True), (-61, False), (10**9, False)]
)
async def test_snapshot_lives_as_long_as_its_keys_would_have_lived_in_memory(tmp_path, seconds, is_used):
    _write(tmp_path, keys_stale_seconds=3600)
    clock = FakeClock()
    clock.advance(seconds)
    async with ColdStart(tmp_path, clock, keys_stale_seconds=3600) as start:
        assert isinstance(await start.verdict(), Principal if is_used else Unavailable)


async def test_restarts_do_not_make_a_snapshot_younger(tmp_path):
    path, clock = _write(tmp_path, keys_stale_seconds=3600), FakeClock()
    before = path.read_bytes()
    for _ in range(3):
        clock.advance(1400)
        async with ColdStart(tmp_path, clock, keys_stale_seconds=3600) as start:
            is_old = clock.now - FakeClock().now >= 4200
            assert isinstance(await start.verdict(), Unavailable if is_old else Principal)
        assert path.read_bytes() == before


async def test_bound_of_a_snapshot_goes_on_running_after_the_start(tmp_path):
    _write(tmp_path, keys_stale_seconds=3600)
    clock = FakeClock()
    clock.advance(4000)
    async with ColdStart(tmp_path, clock, keys_stale_seconds=3600) as start:
        assert isinstance(await start.verdict(), Principal)
        clock.advance(200)
        assert isinstance(await start.verdict(), Unavailable)


@pytest.mark.parametrize(
    "overrides",
    [
        {"id": "other"},
        {"allow_private_addresses": True},
        {"jwks_hosts": ("keys.example.test",)},
        {"discovery": "oauth2"},
        {"discovery": "none", "jwks_uri": f"{GONE}/jwks"},
    ],
    ids=["id", "reach", "hosts", "discovery", "jwks_uri"],
)
async def test_snapshot_of_another_provider_or_source_is_not_used(tmp_path, overrides):
    _write(tmp_path)
    own = KeySnapshots(str(tmp_path)).path(providers(GONE)[0])
    async with ColdStart(tmp_path, FakeClock(), **overrides) as start:
        other = KeySnapshots(str(tmp_path)).path(providers(GONE, **overrides)[0])
        if other != own:
            own.rename(other)
            start.keys._restore(providers(GONE, **overrides))
        assert isinstance(await start.verdict(), Unavailable)


def _edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _linked(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.symlink_to(path.with_suffix(".old"))


def _named_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.chmod(0o620), id="the group can write it"),
        pytest.param(lambda path: path.chmod(0o602), id="everyone can write it"),
        pytest.param(lambda path: os.chown(path, 12345, -1), id="of another user"),
        pytest.param(lambda path: path.with_suffix(".again").hardlink_to(path), id="has a second name"),
        pytest.param(_linked, id="is a link"),
        pytest.param(_named_pipe, id="is a pipe"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-20]), id="cut off"),
        pytest.param(lambda path: path.write_bytes(b" " * 400_000), id="too long"),
        pytest.param(lambda path: path.write_text("[]"), id="a list"),
        pytest.param(lambda path: path.write_text(path.read_text()[:-1] + ',"format":1}'), id="a member twice"),
        pytest.param(lambda path: _edited(path, more=1), id="a member more"),
        pytest.param(lambda path: _edited(path, format=2), id="of a later format"),
        pytest.param(lambda path: _edited(path, format=True), id="format is no number"),
        pytest.param(lambda path: _edited(path, issuer="https://other.test"), id="of another issuer"),
        pytest.param(lambda path: _edited(path, fetched_at="1700000000"), id="time is text"),
        pytest.param(lambda path: _edited(path, fetched_at=True), id="time is a boolean"),
        pytest.param(lambda path: _edited(path, max_age=-1), id="negative age"),
        pytest.param(lambda path: _edited(path, keys={}), id="keys are no list"),
        pytest.param(lambda path: _edited(path, keys=[KEY.jwk()] * 101), id="too many keys"),
        pytest.param(lambda path: path.parent.chmod(0o777), id="everyone can write to the directory"),
        pytest.param(lambda path: os.chown(path.parent, 12345, -1), id="directory of another user"),
    ],
)
async def test_file_that_cannot_be_trusted_is_not_used_and_said_to_the_log(tmp_path, caplog, spoil):
    if os.geteuid() != 0 and spoil.__name__ == "<lambda>" and "chown" in spoil.__code__.co_names:
        pytest.skip("only root can give files away")
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    spoil(_write(directory))
    async with ColdStart(directory, FakeClock()) as start:
        assert "token_keys_snapshot_refused" in caplog.text
        assert isinstance(await start.verdict(), Unavailable)
    directory.chmod(0o700)


async def test_keys_of_a_snapshot_pass_the_same_checks_as_fetched_ones(tmp_path):
    weak = SigningKey("RS256", kid="weak", bits=1024)
    path = _write(tmp_path)
    _edited(path, keys=[weak.jwk(), KEY.jwk(use="enc")])
    async with ColdStart(tmp_path, FakeClock()) as start:
        assert isinstance(await start.verdict(), Unavailable)
        assert isinstance(await start.verdict(weak), Unavailable)


def test_private_and_useless_keys_are_not_copied_to_the_disk(tmp_path):
    published = KEY.jwk(kid="leaked", d="c2VjcmV0LXNjYWxhcg")
    path = _write(tmp_path, _body(KEY.jwk(), published, {"kty": "oct", "k": "c2VjcmV0LXNjYWxhcg"}, KEY.jwk(use="enc")))
    assert "c2VjcmV0LXNjYWxhcg" not in path.read_text()
    assert [jwk["kid"] for jwk in json.loads(path.read_text())["keys"]] == ["k1"]


def test_file_is_closed_to_others_and_replaced_in_one_step(tmp_path):
    path = _write(tmp_path)
    first = path.stat()
    assert first.st_mode & 0o777 == 0o600
    assert _write(tmp_path) == path
    assert path.stat().st_ino != first.st_ino
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_failed_write_leaves_the_file_of_before_and_nothing_beside_it(tmp_path, monkeypatch):
    path = _write(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SnapshotRefused, match="cannot be written"):
        _write(tmp_path, _body())
    assert json.loads(path.read_text())["keys"] == [KEY.jwk()]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["missing", "file", "nul\0"])
def test_directory_that_is_none_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(SnapshotRefused):
        check_directory(str(tmp_path / name))


def test_document_survives_the_disk(tmp_path):
    snapshots, provider = KeySnapshots(str(tmp_path)), providers(GONE)[0]
    assert snapshots.read(provider) is None
    odd = KEY.jwk(note="ä\u2028", number=1.5)
    snapshots.write(provider, KeyDocument(_body(odd), 1_700_000_000.9, 90.0))
    found = snapshots.read(provider)
    assert (found.fetched_at, found.max_age) == (1_700_000_000, 90)
    assert json.loads(found.body)["keys"][0]["x"] == odd["x"]
