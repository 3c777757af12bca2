"""Card key files are made, rotated and shortened by a command that prints key ids and never a key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.cards import NEW, OLD, write_card_keys_file
from policy.card_keys import read_card_keys_file
from tollhouse.__main__ import app


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["card-key", *map(str, arguments)])
    return result.exit_code, result.output


def test_new_file_is_private_and_holds_one_key(tmp_path: Path):
    path = tmp_path / "card.keys"
    code, output = run("new", path)
    assert code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (secret,) = read_card_keys_file(str(path)).secrets
    assert secret.key_id in output
    assert path.read_text().split()[-1] not in output


def test_rotation_keeps_the_old_key_until_it_is_dropped(tmp_path: Path):
    path = write_card_keys_file(tmp_path / "card.keys")
    path.chmod(0o640)
    assert run("rotate", path)[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    new, old = read_card_keys_file(str(path)).secrets
    assert old == OLD
    assert run("rotate", path)[0] == 1
    assert run("drop", path)[0] == 0
    assert read_card_keys_file(str(path)).secrets == (new,)
    assert run("drop", path)[0] == 1
    assert run("rotate", path)[0] == 0  # on the same day: another id
    assert [name.name for name in tmp_path.iterdir()] == ["card.keys"]


def test_no_id_of_a_day_comes_back_with_another_key(tmp_path: Path):
    path = tmp_path / "card.keys"
    run("new", path)
    ids = [read_card_keys_file(str(path)).secrets[0].key_id]
    for _ in range(4):
        run("rotate", path)
        run("drop", path)
        ids.append(read_card_keys_file(str(path)).secrets[0].key_id)
    assert len(set(ids)) == len(ids)


def test_rotation_through_a_link_changes_the_file_that_it_leads_to(tmp_path: Path):
    path = write_card_keys_file(tmp_path / "card.keys")
    link = tmp_path / "link"
    link.symlink_to("card.keys")
    assert run("rotate", link)[0] == 0
    assert link.is_symlink()
    assert len(read_card_keys_file(str(path)).secrets) == 2


@pytest.mark.parametrize("action", ["new", "rotate", "drop"])
def test_link_that_leads_to_itself_is_refused(tmp_path: Path, action: str):
    link = tmp_path / "card.keys"
    link.symlink_to("card.keys")
    code, output = run(action, link)
    assert code == 1, output
    assert link.is_symlink()


@pytest.mark.parametrize("action", ["rotate", "drop"])
def test_file_that_cannot_be_used_stays_as_it_is(tmp_path: Path, action: str):
    path = tmp_path / "card.keys"
    assert run(action, path)[0] == 1
    path.write_text("k1 short\n")
    code, output = run(action, path)
    assert (code, path.read_text()) == (1, "k1 short\n")
    assert f"{path}:1: the key is not base64" in output


def test_new_never_writes_over_a_file(tmp_path: Path):
    path = write_card_keys_file(tmp_path / "card.keys", NEW, OLD)
    before = path.read_bytes()
    code, output = run("new", path)
    assert (code, path.read_bytes()) == (1, before)
    assert "exists" in output
    assert run("new", tmp_path / "nowhere" / "card.keys")[0] == 1
