"""A policy set while it is being checked: what could be read of it, and what was wrong so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, cast

from policy.diagnostics import Problem, ProblemList, Severity
from policy.names import FILE_NAMES
from policy.positions import Document, Path
from policy.schema.base import FileModel
from policy.schema.profiles import Profile
from policy.schema.quota_tests import QuotaTestsFile
from policy.shape import SoundItems

Model = TypeVar("Model", bound=FileModel)


@dataclass(slots=True)
class Parts:
    """Every file that has its shape; a broken one is absent, and checks that need it are left out.

    Attributes:
        documents: Files as read, by name.
        models: The checked models, by file name.
        sound: What is sound of files with broken list items, by file name; checked, but never referred to.
        problems: Everything found so far.
        has_all_profiles: No profile file was broken, so an unknown profile really is unknown.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    models: dict[str, FileModel] = field(default_factory=dict)
    sound: dict[str, SoundItems] = field(default_factory=dict)
    problems: ProblemList = field(default_factory=ProblemList)
    has_all_profiles: bool = True

    def find(self, model: type[Model]) -> Model | None:
        """Return the single file of this type, or None when it is broken or missing."""
        return cast("Model | None", self.models.get(FILE_NAMES[model]))

    def find_sound(self, model: type[Model]) -> Model | None:
        """Return the single file of this type, or what is sound of it: for checks of its own items alone.

        A check that looks something up in another file uses `find`, else a broken item would be told as unknown.
        """
        name = FILE_NAMES[model]
        sound = self.sound.get(name)
        return self.find(model) if sound is None else cast("Model", sound.model)

    def _place(self, file: str, path: Path) -> Path:
        """Return where a path into a sound file leads in the file as written."""
        sound = self.sound.get(file)
        indices = sound.kept.get(str(path[0])) if sound is not None and len(path) > 1 else None
        if indices is None or not isinstance(path[1], int):
            return path
        return (path[0], indices[path[1]], *path[2:])

    def profiles(self) -> dict[str, Profile]:
        """Return profiles by file name."""
        return {name: model for name, model in sorted(self.models.items()) if isinstance(model, Profile)}

    def tests(self) -> dict[str, QuotaTestsFile]:
        """Return tests by file name."""
        return {name: model for name, model in sorted(self.models.items()) if isinstance(model, QuotaTestsFile)}

    def add(self, file: str, path: Path, code: str, message: str, severity: Severity = "error") -> None:
        """Add a problem at a node of a file."""
        self.problems.add(self.documents[file].problem(self._place(file, path), code, message, severity))

    def add_at_key(self, file: str, path: Path, code: str, message: str) -> None:
        """Add a problem at the key that `path` ends with."""
        self.problems.add(self.documents[file].key_problem(self._place(file, path), code, message))

    def add_in_text(self, file: str, path: Path, place: tuple[int, int], problem: tuple[str, str]) -> None:
        """Add a problem (code, message) inside a text value; `place` is line and column in it, 1-based."""
        self.problems.add(self.documents[file].text_problem(self._place(file, path), place, *problem))

    def add_without_place(self, file: str, code: str, message: str) -> None:
        """Add a problem of a whole file."""
        self.problems.add(Problem(file, 1, 1, code, message))
