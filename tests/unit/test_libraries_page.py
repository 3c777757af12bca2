"""docs/decisions/0001-libraries.md gives a reason for every dependency of the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_dependency_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    page = (ROOT / "docs/decisions/0001-libraries.md").read_text()
    explained = set(re.findall(r"[a-z0-9-]+", page.partition("## Rejected")[0].lower()))
    names = [re.split(r"[\[<>=!~; ]", name, maxsplit=1)[0].lower() for name in wanted]
    assert [name for name in names if name not in explained] == []
