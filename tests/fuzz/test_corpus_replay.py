"""Every committed input once against its oracle, and what `scripts/fuzz` promises about itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.fuzzing import grpc_targets, policy_target
from helpers.fuzzing.__main__ import main
from helpers.fuzzing.engine import CORPUS, Target, after, corpus_of, fuzz, save
from helpers.fuzzing.targets import TARGETS

INPUTS = [
    pytest.param(target, path, id=f"{name}/{path.name}")
    for name, target in TARGETS.items()
    for path in corpus_of(target)
]


@pytest.fixture(scope="module", autouse=True)
def shared_parts() -> Iterator[None]:
    yield
    grpc_targets.close()
    policy_target.close()


@pytest.mark.parametrize(("target", "path"), INPUTS)
def test_committed_input_agrees_with_its_oracle(target: Target, path: Path):
    target.run(path.read_bytes())


def test_every_target_has_a_corpus_and_every_corpus_a_target():
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_short_campaign_finds_nothing(target: Target):
    campaign = fuzz(target, 1, after(len(corpus_of(target)) + 20))

    assert not campaign.finds
    assert campaign.arcs


def guarded(data: bytes) -> None:
    """A reader with a hole behind two conditions, which chance alone would hardly pass together."""
    if data[:1] == b"{" and data[1:2] == b"!":
        raise ZeroDivisionError
    if data[:1] == b"{":
        return


PLANTED = Target("planted", guarded, (Path(__file__).name,), (b"{", b"!"))


def test_planted_hole_is_found_cut_down_and_saved(tmp_path: Path):
    campaign = fuzz(PLANTED, 0, after(4000), seeds=[b"a long beginning"])

    (find,) = campaign.finds.values()
    assert find.data == b"{!"
    assert "ZeroDivisionError" in find.error
    assert save(find, PLANTED, tmp_path).read_bytes() == b"{!"


def test_same_seed_tries_the_same_inputs():
    tried: list[list[bytes]] = []
    for seed in (5, 5, 6):
        inputs: list[bytes] = []
        fuzz(Target("listed", inputs.append, (), (b"x",)), seed, after(200), seeds=[b"start"])
        tried.append(inputs)

    assert tried[0] == tried[1]
    assert tried[0] != tried[2]


def test_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["nope"])

    assert ended.value.code == 2
    assert "no such target: nope" in capsys.readouterr().err


def test_command_counts_what_it_did(capsys: pytest.CaptureFixture[str]):
    assert main(["grpc_timeout", "--seconds", "0.05", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "grpc_timeout" in printed
    assert "0 finds, seed 3" in printed


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1"])
def test_time_that_never_ends_or_never_begins_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["grpc_timeout", "--seconds", seconds])

    assert ended.value.code == 2
    assert "--seconds must be above 0" in capsys.readouterr().err
