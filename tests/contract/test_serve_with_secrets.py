"""`tollhouse serve` with secret files named by variables: no secret in any argument, variable or line of output."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.cards import NEW, OLD, key_line, write_card_keys_file
from helpers.services import SHIPPED
from helpers.transport_rig import ROOT, TRANSPORTS, can_run, until

TOKEN = "admin-token-0123456789-0123456789-01"


class Serving:
    """A running extauthz whose settings came by variables alone."""

    def __init__(self, transport: str, directory: Path) -> None:
        self.card_keys = write_card_keys_file(directory / "card.keys")
        token_file = directory / "admin.token"
        token_file.write_text(f"{TOKEN}\n")
        token_file.chmod(0o600)
        self._output = directory / "output"
        settings = {
            "TOLLHOUSE_POLICIES": str(SHIPPED),
            "TOLLHOUSE_LISTEN": "127.0.0.1:0",
            "TOLLHOUSE_ADMIN": "127.0.0.1:0",
            "TOLLHOUSE_TRANSPORT": transport,
            "TOLLHOUSE_CARD_KEY_FILE": str(self.card_keys),
            "TOLLHOUSE_ADMIN_TOKEN_FILE": str(token_file),
            "TOLLHOUSE_LAME_DUCK_SECONDS": "0",
            "TOLLHOUSE_LAME_DUCKS": "0",
        }
        with self._output.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tollhouse", "serve", "extauthz"],
                cwd=ROOT,
                env={**os.environ, **settings},
                stdout=stream,
                stderr=stream,
            )

    def output(self) -> str:
        return self._output.read_text()

    def page(self, path: str, token: str | None = None) -> int:
        address = self.output().partition("admin on ")[2].split()[0].rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            request = urllib.request.Request(address + path, headers=headers)  # noqa: S310 - the address is our own
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def facts(self) -> Iterator[bytes]:
        """Arguments and environment of the process and of its children."""
        pids = [self.process.pid]
        while pids:
            pid = pids.pop()
            yield Path(f"/proc/{pid}/cmdline").read_bytes()
            yield Path(f"/proc/{pid}/environ").read_bytes()
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())


@pytest.fixture(params=TRANSPORTS)
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serving]:
    if not can_run(request.param):
        pytest.skip("no shared libpython")
    running = Serving(request.param, tmp_path)
    try:
        until(lambda: " serving on " in running.output(), "the start", 60.0)
        yield running
    finally:
        running.process.terminate()
        try:
            running.process.wait(30)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_secrets_are_obeyed_and_seen_nowhere(serving: Serving):
    assert "TOLLHOUSE_LAME_DUCKS means nothing here" in serving.output()
    assert "card keys in force, current first: k1" in serving.output()
    assert (serving.page("/metrics"), serving.page("/metrics", "x" * 40)) == (401, 401)
    assert serving.page("/metrics", TOKEN) == 200
    assert serving.page("/healthz") == 200
    serving.card_keys.write_text(key_line(NEW) + key_line(OLD))
    until(lambda: "card keys in force, current first: k2, k1" in serving.output(), "the new key", 30.0)
    secrets = [TOKEN, *(key_line(secret).split()[1] for secret in (OLD, NEW))]
    seen = serving.output().encode() + b"".join(serving.facts())
    assert [secret for secret in secrets if secret.encode() in seen] == []
