"""The fuzzer behind `scripts/fuzz`: mutates a committed corpus, guided by the line arcs an input reaches.

Its law: a target is right or it raises. An input that makes a line follow another for the first time in the
code under test (seen with `sys.settrace`) joins the pool that further inputs are made from; an input that makes
the target raise is cut down and reported. Everything but the number of executions follows from the seed.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"
MAX_MUTATIONS = 6
MINIMISE_RUNS = 600
_MAGIC = (0, 1, 4, 9, 10, 13, 31, 32, 34, 37, 46, 47, 92, 123, 127, 128, 192, 237, 255)

Arc = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Target:
    """One reader with its oracle.

    Attributes:
        name: Its folder in the corpus.
        run: Reads one input and returns; any exception is a find.
        traced: Parts of file names whose lines guide the search.
        words: Pieces that mean something to the reader.
        max_bytes: Longest input that is made.
    """

    name: str
    run: Callable[[bytes], None]
    traced: tuple[str, ...]
    words: tuple[bytes, ...] = ()
    max_bytes: int = 2048


@dataclass(frozen=True, slots=True)
class Find:
    """An input that a target and its oracle read differently."""

    data: bytes
    error: str


@dataclass(slots=True)
class Campaign:
    """What was tried on one target so far."""

    target: Target
    executions: int = 0
    pool: list[bytes] = field(default_factory=list)
    arcs: set[Arc] = field(default_factory=set)
    finds: dict[str, Find] = field(default_factory=dict)


def corpus_of(target: Target, root: Path = CORPUS) -> list[Path]:
    """Return the committed inputs of a target, sorted."""
    return sorted(path for path in (root / target.name).glob("*") if path.is_file())


def fuzz(target: Target, seed: int, stop: Callable[[Campaign], bool], seeds: Sequence[bytes] | None = None) -> Campaign:
    """Try inputs until `stop`; the corpus (or `seeds`) first, each as it is."""
    chance = random.Random(f"{seed}/{target.name}")  # noqa: S311 - a search, no secret
    campaign = Campaign(target)
    for data in seeds if seeds is not None else [path.read_bytes() for path in corpus_of(target)]:
        _try(campaign, data)
        campaign.pool.append(data)
    campaign.pool = campaign.pool or [b""]
    while not stop(campaign):
        data = mutated(chance, campaign.pool, target)
        if _try(campaign, data):
            campaign.pool.append(data)
    return campaign


def within(seconds: float) -> Callable[[Campaign], bool]:
    """Stop after a time."""
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() >= end


def after(executions: int) -> Callable[[Campaign], bool]:
    """Stop after a number of executions, which makes a campaign repeatable."""
    return lambda campaign: campaign.executions >= executions


def save(find: Find, target: Target, root: Path = CORPUS) -> Path:
    """Write the input of a find into the corpus, to be committed with its mend; return its file."""
    path = root / target.name / f"find-{hashlib.sha256(find.data).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(find.data)
    return path


def _try(campaign: Campaign, data: bytes) -> bool:
    """Run one input; return whether it reached a new arc."""
    campaign.executions += 1
    before = len(campaign.arcs)
    error = _error(campaign.target, data, campaign.arcs)
    if error is not None and error not in campaign.finds:
        campaign.finds[error] = Find(minimised(campaign.target, data, error), error)
    return len(campaign.arcs) > before


def _error(target: Target, data: bytes, arcs: set[Arc] | None = None) -> str | None:
    """Return what a target raised and where, without the input's own text; None if it agreed."""
    if arcs is not None:
        sys.settrace(_tracer(target.traced, arcs))
    try:
        target.run(data)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is looked for
        return f"{type(error).__name__} at {_place(error)}"
    finally:
        sys.settrace(None)
    return None


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _tracer(parts: tuple[str, ...], arcs: set[Arc]) -> Callable[[FrameType, str, Any], Any]:
    def on_call(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not any(part in name for part in parts):
            return None
        last = frame.f_lineno

        def on_line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            arcs.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return on_line

        return on_line

    return on_call


def mutated(chance: random.Random, pool: Sequence[bytes], target: Target) -> bytes:
    """Return a pool entry with a few changes; recent entries are more often taken."""
    place = max(chance.randrange(len(pool)), chance.randrange(len(pool)))
    data = bytearray(pool[place])
    for _ in range(chance.randint(1, MAX_MUTATIONS)):
        _CHANGES[chance.randrange(len(_CHANGES))](chance, data, pool, target)
    return bytes(data[: target.max_bytes])


def _slice(chance: random.Random, data: bytes | bytearray) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((1, 1, 2, 4, 16, 64)))


def _put_word(chance: random.Random, data: bytearray, pool: Sequence[bytes], target: Target) -> None:
    start, end = _slice(chance, data)
    data[start : chance.choice((start, end))] = chance.choice(target.words or (b"\0",))


def _put_byte(chance: random.Random, data: bytearray, pool: Sequence[bytes], target: Target) -> None:
    start, _ = _slice(chance, data)
    data[start : start + chance.randint(0, 1)] = bytes([chance.choice((*_MAGIC, chance.randrange(256)))])


def _flip(chance: random.Random, data: bytearray, pool: Sequence[bytes], target: Target) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(chance: random.Random, data: bytearray, pool: Sequence[bytes], target: Target) -> None:
    start, end = _slice(chance, data)
    del data[start:end]


def _repeat(chance: random.Random, data: bytearray, pool: Sequence[bytes], target: Target) -> None:
    start, end = _slice(chance, data)
    data[start:start] = data[start:end] * chance.choice((1, 1, 2, 40))


def _cross(chance: random.Random, data: bytearray, pool: Sequence[bytes], target: Target) -> None:
    other = pool[chance.randrange(len(pool))]
    start, end = _slice(chance, other)
    at, upto = _slice(chance, data)
    data[at:upto] = other[start:end]


def _number(chance: random.Random, data: bytearray, pool: Sequence[bytes], target: Target) -> None:
    start, end = _slice(chance, data)
    value = chance.choice((0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, 10**20, 10**40, 1e308, 5e-324))
    data[start:end] = str(value).encode()


_CHANGES = (_put_word, _put_word, _put_byte, _flip, _cut, _repeat, _cross, _number)


def minimised(target: Target, data: bytes, error: str) -> bytes:
    """Return a shorter input with the same error, within a bounded number of runs."""
    runs = 0
    size = max(1, len(data) // 2)
    while size and runs < MINIMISE_RUNS:
        for shorter in _without(data, size):
            runs += 1
            if _error(target, shorter) == error:
                data = shorter
                break
            if runs >= MINIMISE_RUNS:
                break
        else:
            size //= 2
    return data


def _without(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[:start] + data[start + size :]
