"""Oracle of the policy loader: problems that point into the files, or a set that both services can serve."""

from __future__ import annotations

import tempfile
from pathlib import Path

import extauthz.compile
import ratelimit.compile
from chassis.clock import SystemClock
from chassis.http_client import HttpClient
from extauthz.tokens.cache import ClaimsCache
from extauthz.tokens.key_sets import KeySets
from helpers.cards import KEYRING
from helpers.fuzzing.engine import Target
from helpers.policy_sets import SMALL_SET, write_set
from policy.diagnostics import MAX_PROBLEMS, PolicyInvalid, Problem, render_text
from policy.loader import PolicySet, load_policy_set

_folders: list[tempfile.TemporaryDirectory[str]] = []


def run_policy(data: bytes) -> None:
    """First line: the file of the small set that is replaced; the rest: what it holds instead."""
    name_bytes, _, content = data.partition(b"\n")
    name = name_bytes.decode("utf-8", "replace")
    if name not in SMALL_SET:
        name = sorted(SMALL_SET)[len(data) % len(SMALL_SET)]
    file = _root() / name
    file.write_bytes(content)
    try:
        policy = load_policy_set(_root())
    except PolicyInvalid as error:
        _check_problems(error.problems, name, content)
    else:
        _check_served(policy)
    finally:
        file.write_text(SMALL_SET[name], "utf-8")


def _root() -> Path:
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="tollhouse-fuzz-"))
        write_set(Path(_folders[0].name))
    return Path(_folders[0].name)


def close() -> None:
    """Remove the folder that the executions shared."""
    while _folders:
        _folders.pop().cleanup()


def _check_problems(problems: tuple[Problem, ...], name: str, content: bytes) -> None:
    assert 0 < len(problems) <= MAX_PROBLEMS + 1
    assert any(problem.severity == "error" for problem in problems)
    for problem in problems:
        assert problem.code[0] == "P"
        assert "\n" not in str(problem)
        is_known = problem.file == "." or problem.file in SMALL_SET or problem.file.isprintable()
        assert is_known, "a file name that cannot be printed"
        text = content.decode("utf-8", "replace") if problem.file == name else SMALL_SET.get(problem.file, "")
        _check_place(problem, text)
    assert render_text(problems).encode("utf-8")


def _check_place(problem: Problem, text: str) -> None:
    lines = text.split("\n")
    assert 1 <= problem.line <= len(lines), "a line beyond the file"
    assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, "a column beyond the line"


def _check_served(policy: PolicySet) -> None:
    clock = SystemClock()
    keys = KeySets(HttpClient(), clock)
    tables = extauthz.compile.compile_tables(
        policy, keys=keys, cache=ClaimsCache(), clock=clock, given=extauthz.compile.OperatorMeans(KEYRING)
    )
    assert tables.revision == policy.revision
    assert ratelimit.compile.compile_tables(policy).revision == policy.revision
    for merchant in policy.merchants.merchants:
        assert tables.merchants.get(merchant.id) is not None


POLICY = Target(
    "policy",
    run_policy,
    ("/policy/", "extauthz/compile.py", "ratelimit/compile.py"),
    (
        b"- ",
        b": ",
        b"\n",
        b"\n  ",
        b"|",
        b">-",
        b"&a",
        b"*a",
        b"!!int ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"'",
        b'"',
        b"#",
        b"\t",
        b"---\n",
        b"...\n",
        b"%YAML 1.2\n",
        b"<<",
        b"~",
        b"\\u0000",
        b"\r",
        "\u2028".encode(),
        b"\xef\xbb\xbf",
        b"\0",
        b"null",
        b"true",
        b"0742",
        b"1e9",
        b"-1",
        b"1_000",
        b"0x10",
        b"rules",
        b"id",
        b"when",
        b"has(",
        b"present(",
        b"card.country",
        b"&&",
        b"==",
        b"||",
        b"/0",
        b"limit",
        b"files",
        b"m_one",
        b"EUR",
        b"Europe/Berlin",
        b"per_second",
        b"daily",
        b"{id}",
    ),
    1500,
)
