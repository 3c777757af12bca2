"""A policy set while it is being checked: what could be read of it, and what was wrong so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, cast

from policy.diagnostics import Problem, ProblemList, Severity
from policy.names import FILE_NAMES
from policy.positions import Document, Path
from policy.schema.base import FileModel
from policy.schema.profiles import Profile

Model = TypeVar("Model", bound=FileModel)


@dataclass(slots=True)
class Parts:
    """Every file that has its shape; a broken one is absent, and checks that need it are left out.

    Attributes:
        documents: Files as read, by name.
        models: The checked models, by file name.
        problems: Everything found so far.
        has_all_profiles: No profile file was broken, so an unknown profile really is unknown.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    models: dict[str, FileModel] = field(default_factory=dict)
    problems: ProblemList = field(default_factory=ProblemList)
    has_all_profiles: bool = True

    def find(self, model: type[Model]) -> Model | None:
        """Return the single file of this type, or None when it is broken or missing."""
        return cast("Model | None", self.models.get(FILE_NAMES[model]))

    def profiles(self) -> dict[str, Profile]:
        """Return profiles by file name."""
        return {name: model for name, model in sorted(self.models.items()) if isinstance(model, Profile)}

    def add(self, file: str, path: Path, code: str, message: str, severity: Severity = "error") -> None:
        """Add a problem at a node of a file."""
        self.problems.add(self.documents[file].problem(path, code, message, severity))

    def add_at_key(self, file: str, path: Path, code: str, message: str) -> None:
        """Add a problem at the key that `path` ends with."""
        self.problems.add(self.documents[file].key_problem(path, code, message))

    def add_in_text(self, file: str, path: Path, place: tuple[int, int], problem: tuple[str, str]) -> None:
        """Add a problem (code, message) inside a text value; `place` is line and column in it, 1-based."""
        self.problems.add(self.documents[file].text_problem(path, place, *problem))

    def add_without_place(self, file: str, code: str, message: str) -> None:
        """Add a problem of a whole file."""
        self.problems.add(Problem(file, 1, 1, code, message))
