"""One setting of `tollhouse serve`: what `tollhouse/options.py` makes its table of."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, Final

import typer

PREFIX: Final = "TOLLHOUSE_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        flag: Option of `tollhouse serve`.
        help: What it is for, one sentence.
        advice: Which values are safe, and what the others cost.
        default: Value when neither option nor variable is given; `REQUIRED` where one must be.
        unit: Of a number or a text's form; empty for none.
        bounds: Lowest and highest number that is accepted; None for texts.
        service: The one service that takes it; empty: both.
        has_variable: Also settable by environment variable; a consent is not, it must stand in the command.
    """

    flag: str
    help: str
    advice: str
    default: Any = None
    unit: str = ""
    bounds: tuple[float, float] | None = None
    service: str = ""
    has_variable: bool = True

    @property
    def variable(self) -> str | None:
        """Name of the environment variable, or None."""
        return PREFIX + self.flag.removeprefix("--").replace("-", "_").upper() if self.has_variable else None

    def option(self) -> Any:
        """Return what typer makes the option of."""
        lowest, highest = self.bounds or (None, None)
        text = f"{self.service} only: {self.help}" if self.service else self.help
        return typer.Option(
            self.flag, envvar=self.variable, help=text, min=lowest, max=highest, metavar=self.unit or None
        )


REQUIRED: Final = object()
"""Default of a setting that has none."""


def default_of(model: type[Any], name: str) -> Any:
    """Return the default of a field; raises ValueError for one that has none."""
    found = next(field.default for field in fields(model) if field.name == name)
    if found is MISSING:
        raise ValueError(f"{name} has no default")
    return found
