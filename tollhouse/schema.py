"""`tollhouse schema`: JSON Schema files, so that an editor completes keys and marks mistakes while one types."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from policy.schema.base import FileModel
from policy.schema.manifest import Manifest
from policy.schema.merchants import MerchantsFile
from policy.schema.profiles import Profile
from policy.schema.providers import ProvidersFile
from policy.schema.quota_tests import QuotaTestsFile
from policy.schema.quotas import QuotasFile
from policy.schema.rates import RatesFile
from policy.schema.risk import RiskFile
from policy.schema.routes import RoutesFile

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

SCHEMA_FILES: Final[dict[str, type[FileModel]]] = {
    "tollhouse.schema.json": Manifest,
    "providers.schema.json": ProvidersFile,
    "routes.schema.json": RoutesFile,
    "profile.schema.json": Profile,
    "merchants.schema.json": MerchantsFile,
    "quotas.schema.json": QuotasFile,
    "quota_tests.schema.json": QuotaTestsFile,
    "risk.schema.json": RiskFile,
    "rates.schema.json": RatesFile,
}
"""One schema a kind of policy file; the sample set's first lines point at these names."""


def write_schemas(directory: Path) -> list[Path]:
    """Write one file a kind of policy file and return where.

    Raises:
        OSError: The directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, model in SCHEMA_FILES.items():
        path = directory / name
        path.write_text(json.dumps(schema_of(model), indent=2) + "\n", "utf-8")
        written.append(path)
    return written


def schema_of(model: type[FileModel]) -> dict[str, Any]:
    """Return the JSON Schema of a file as an editor sees it.

    An editor's YAML reader makes numbers of `5411` where our reader keeps text, so text that may consist of digits
    is accepted as a number too; the gate itself still checks the spelling.
    """
    schema = _with_numbers(model.model_json_schema())
    return {"$schema": _DIALECT, **schema}


def _with_numbers(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_numbers(item) for item in node]
    if not isinstance(node, dict):
        return node
    widened = {key: _with_numbers(item) for key, item in node.items()}
    if widened.get("type") == "string":
        if _takes_digits(widened):
            widened["type"] = ["string", "integer"]
        if "const" in widened:
            constant = widened.pop("const")
            widened["enum"] = [constant, int(constant)] if constant.isdecimal() else [constant]
    return widened


def _takes_digits(node: dict[str, Any]) -> bool:
    if "const" in node:
        return str(node["const"]).isdecimal()
    if "enum" in node or "format" in node:
        return False
    pattern = node.get("pattern")
    return pattern is None or any(re.search(pattern, digits) for digits in ("1", "11", "1111"))
