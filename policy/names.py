"""Which files a policy set is made of, and what each one is read as."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from policy.schema.base import FileModel
from policy.schema.merchants import MerchantsFile
from policy.schema.profiles import Profile
from policy.schema.providers import ProvidersFile
from policy.schema.quota_tests import QuotaTestsFile
from policy.schema.quotas import QuotasFile
from policy.schema.rates import RatesFile
from policy.schema.risk import RiskFile
from policy.schema.routes import RoutesFile

MANIFEST_FILE: Final = "tollhouse.yaml"
PROVIDERS_FILE: Final = "providers.yaml"
ROUTES_FILE: Final = "routes.yaml"
MERCHANTS_FILE: Final = "merchants.yaml"
QUOTAS_FILE: Final = "quotas.yaml"
RISK_FILE: Final = "risk.yaml"
RATES_FILE: Final = "rates.yaml"

FILE_NAMES: Final[Mapping[type[FileModel], str]] = MappingProxyType(
    {
        ProvidersFile: PROVIDERS_FILE,
        RoutesFile: ROUTES_FILE,
        MerchantsFile: MERCHANTS_FILE,
        QuotasFile: QUOTAS_FILE,
        RiskFile: RISK_FILE,
        RatesFile: RATES_FILE,
    }
)
"""The single files."""

OPTIONAL_FILES: Final = frozenset({RATES_FILE})
"""Of the single files, those that a set may go without."""

FILE_MODELS: Final[Mapping[str, type[FileModel]]] = MappingProxyType(
    {name: model for model, name in FILE_NAMES.items()}
)

_PROFILE = re.compile(r"profiles/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\.yaml\Z")
_DESCRIPTORS = re.compile(r"descriptors/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\.ya?ml\Z")
_TESTS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}_test\.yaml\Z")
_PLANNED = re.compile(r"(velocity\.yaml|lists/.*)\Z")


def model_of(name: str) -> type[FileModel] | None:
    """Return what a listed file is read as, or None for a kind of file that does not exist."""
    if _TESTS.match(name):
        return QuotaTestsFile
    return Profile if _PROFILE.match(name) else FILE_MODELS.get(name)


def is_descriptor_file(name: str) -> bool:
    """Say whether a file holds limits in envoyproxy/ratelimit's own format."""
    return _DESCRIPTORS.match(name) is not None


def is_planned(name: str) -> bool:
    """Say whether a file is of a kind that a later version reads."""
    return _PLANNED.match(name) is not None
