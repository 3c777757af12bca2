"""Files made to exhaust a reader end early and say why."""

from __future__ import annotations

import pytest

from policy.diagnostics import MAX_PROBLEMS, ProblemList
from policy.reader import MAX_FILE_BYTES, read_yaml

SIZE = MAX_FILE_BYTES - 1

FILES = {
    "brackets": b"[" * SIZE,
    "braces": b"{a: " * (SIZE // 4),
    "question marks": b"? " * (SIZE // 2),
    "dashes": b"- " * (SIZE // 2),
    "aliases": b"[" + b"*a," * (SIZE // 3 - 1),
    "the same key": b"a: b\n" * (SIZE // 5),
    "empty values": b"- \n" * (SIZE // 3),
    "a doubling chain": b"".join(b"k%d: &k%d [*k%d, *k%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 20_000)),
    "one long line": b"a: " + b"x" * (SIZE - 3),
    "quotes": b"'" * SIZE,
    "line ends": b"\n" * SIZE,
    "spaces before a key": b" " * (SIZE - 4) + b"a: b",
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES.keys())
def test_file_is_read_or_refused_with_few_words(data):
    problems = ProblemList()
    found = read_yaml("risk.yaml", data, problems)
    assert len(problems.problems) <= MAX_PROBLEMS
    assert found is not None or problems.problems
