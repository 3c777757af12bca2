"""Mistakes in policy files, as a security team reads them: `file:line:column: CODE message`.

Problems are collected, never thrown one by one; `PolicyInvalid` carries all of one run.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

MAX_PROBLEMS: Final = 200
"""More than a person reads; a hostile file must not fill the memory with complaints."""

_MAX_QUOTED: Final = 80
_MAX_KNOWN: Final = 1000

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, at one place.

    Attributes:
        file: Name relative to the policy directory, with `/`.
        line: 1-based.
        column: 1-based, in characters.
        code: Stable code of docs/policy-errors.md.
        message: One sentence for the person who wrote the file.
        excerpt: The line and a caret below, or empty.
        severity: A warning does not keep the set from loading.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    excerpt: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        """Return the one line form, without the excerpt."""
        kind = "warning: " if self.severity == "warning" else ""
        return f"{self.file}:{self.line}:{self.column}: {self.code} {kind}{self.message}"

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Order by file, line, column."""
        return (self.file, self.line, self.column, self.code, self.message)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for `--format json`."""
        return asdict(self)


class PolicyInvalid(Exception):  # noqa: N818 - house word: a policy is invalid, an access denied
    """The policy set must not be used; `problems` says why, sorted, errors and warnings.

    Attributes:
        problems: Every problem that was found in one run.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__()
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=lambda problem: problem.sort_key))

    def __str__(self) -> str:
        """Return one problem a line."""
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(slots=True)
class ProblemList:
    """Collects problems of one run, each once, up to `MAX_PROBLEMS`."""

    _seen: dict[Problem, None] = field(default_factory=dict)

    def add(self, problem: Problem) -> None:
        """Keep a problem; those above the cap are dropped, the set is invalid anyway."""
        if len(self._seen) < MAX_PROBLEMS or (problem.severity == "error" and not self.has_errors):
            self._seen.setdefault(problem)

    @property
    def is_full(self) -> bool:
        """Say whether further problems would be dropped, so that looking for them can stop."""
        return len(self._seen) >= MAX_PROBLEMS

    def hint(self, word: str, known: Collection[str]) -> str:
        """Return `did_you_mean` while somebody will read it; it is the costly part of a message."""
        return "" if self.is_full else did_you_mean(word, known)

    def has_at(self, file: str, line: int, column: int) -> bool:
        """Say whether there is a problem at exactly this place."""
        return any((seen.file, seen.line, seen.column) == (file, line, column) for seen in self._seen)

    @property
    def has_errors(self) -> bool:
        """Say whether any problem is more than a warning."""
        return any(problem.severity == "error" for problem in self._seen)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return all problems, sorted by place."""
        return tuple(sorted(self._seen, key=lambda problem: problem.sort_key))


def quote(text: str) -> str:
    """Return text from a file for a message: short, on one line, printable."""
    shown = text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 3] + "..."
    return "'" + "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown) + "'"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return `; did you mean 'x'?` for a near miss, else nothing; also nothing where a search takes too long."""
    if len(word) > _MAX_QUOTED or len(known) > _MAX_KNOWN:
        return ""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {quote(close[0])}?" if close else ""


def caret_excerpt(line: str, column: int) -> str:
    """Return a source line with a caret under `column` (1-based), cut to a readable width."""
    start = max(0, column - 60)
    shown = line[start : start + 100].replace("\t", " ")
    return f"    {shown}\n    {' ' * (column - 1 - start)}^"


def render_text(problems: Iterable[Problem]) -> str:
    """Return problems one a line, excerpts below."""
    lines: list[str] = []
    for problem in problems:
        lines.append(str(problem))
        if problem.excerpt:
            lines.append(problem.excerpt)
    return "\n".join(lines)


def render_json(problems: Iterable[Problem], summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON form of a run: the problems and a summary beside them."""
    return {"problems": [problem.to_json() for problem in problems], **summary}
