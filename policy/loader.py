"""Loads a policy directory into one frozen set, or says everything that is wrong with it in one run.

Called by both services at start and at reload, and by `tollhouse check`. Law: any bytes on disk lead to a
`PolicySet` or to `PolicyInvalid`, never to another exception, and nothing is half loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, TypeVar

from policy.checks import check_across
from policy.descriptors.reader import COMPAT_ENVOYPROXY, DescriptorOptions, read_descriptors
from policy.descriptors.tree import DescriptorSet
from policy.diagnostics import PolicyInvalid, Problem, Severity
from policy.directory import RawFiles, hash_policy_files, read_directory
from policy.manifest import check_manifest
from policy.names import FILE_NAMES, MANIFEST_FILE, is_descriptor_file, model_of
from policy.parts import Parts
from policy.positions import Document
from policy.reader import read_yaml
from policy.schema.base import FileModel
from policy.schema.manifest import DescriptorReading, Manifest
from policy.schema.merchants import MerchantsFile
from policy.schema.profiles import Profile
from policy.schema.providers import ProvidersFile
from policy.schema.quota_tests import QuotaTestsFile
from policy.schema.quotas import QuotasFile
from policy.schema.rates import RatesFile
from policy.schema.risk import RiskFile
from policy.schema.routes import RoutesFile
from policy.shape import check_shape, sound_items

__all__ = ["PolicySet", "hash_policy_files", "load_policy_set"]

Model = TypeVar("Model", bound=FileModel)


@dataclass(frozen=True, slots=True)
class PolicySet:
    """A checked policy set; it never changes after load.

    Attributes:
        root: Where it was read from.
        revision: 16 hex digits over all names and contents.
        providers: providers.yaml.
        routes: routes.yaml.
        profiles: Body profiles by their id.
        merchants: merchants.yaml.
        quotas: quotas.yaml.
        risk: risk.yaml.
        profile_files: File name by profile id.
        warnings: What is allowed and yet probably a mistake.
        documents: The files as they were read, by name.
        descriptors: What `descriptors/*.yaml` say, or None without such files.
        tests: Tests of quotas by file name.
        rates: rates.yaml, or None without it.
    """

    root: Path
    revision: str
    providers: ProvidersFile
    routes: RoutesFile
    profiles: Mapping[str, Profile]
    merchants: MerchantsFile
    quotas: QuotasFile
    risk: RiskFile
    profile_files: Mapping[str, str]
    warnings: tuple[Problem, ...]
    documents: Mapping[str, Document]
    descriptors: DescriptorSet | None = None
    tests: Mapping[str, QuotaTestsFile] = field(default_factory=dict)
    rates: RatesFile | None = None

    files: ClassVar[Mapping[type[FileModel], str]] = FILE_NAMES
    """File name of each model type; those of profiles are in `profile_files`."""

    def problem(
        self, file: str, path: Sequence[str | int], code: str, message: str, *, severity: Severity = "error"
    ) -> Problem:
        """Return a problem at a node of a file.

        Args:
            file: Name relative to the policy directory.
            path: Keys and list indexes from the file's root; the deepest known ancestor counts.
            code: Code of docs/policy-errors.md.
            message: One sentence.
            severity: `error` or `warning`.
        """
        document = self.documents.get(file)
        if document is None:
            return Problem(file, 1, 1, code, message, severity=severity)
        return document.problem(path, code, message, severity)


def load_policy_set(root: Path) -> PolicySet:
    """Return the checked policy set in `root`.

    Raises:
        PolicyInvalid: With all problems of one run, those across files included.
    """
    raw = read_directory(root)
    parts = Parts()
    for problem in raw.problems:
        parts.problems.add(problem)
    names, reading = _listed_files(raw, parts)
    descriptors = _read_descriptors(names, raw, reading, parts)
    for name in names:
        if is_descriptor_file(name):
            continue
        model = _read_model(name, raw, model_of(name) or Profile, parts)
        if model is None:
            parts.has_all_profiles = parts.has_all_profiles and not name.startswith("profiles/")
        else:
            parts.models[name] = model
    check_across(parts)
    return _assemble(root, raw.revision, parts, descriptors)


def _listed_files(raw: RawFiles, parts: Parts) -> tuple[list[str], DescriptorReading]:
    if MANIFEST_FILE not in raw.contents:
        if not any(problem.file in (MANIFEST_FILE, ".") for problem in raw.problems):
            parts.add_without_place(MANIFEST_FILE, "P020", "the manifest is missing; it lists every file of the set")
        return [], DescriptorReading()
    manifest = _read_model(MANIFEST_FILE, raw, Manifest, parts)
    if manifest is None:
        return [], DescriptorReading()
    return check_manifest(manifest, raw, parts), manifest.descriptors


def _read_descriptors(
    names: Sequence[str], raw: RawFiles, reading: DescriptorReading, parts: Parts
) -> DescriptorSet | None:
    contents = {name: raw.contents[name] for name in names if is_descriptor_file(name)}
    if not contents:
        return None
    options = DescriptorOptions(reading.compat == COMPAT_ENVOYPROXY, reading.merge_domains)
    return read_descriptors(contents, raw.revision, options, parts.problems)


def _read_model(name: str, raw: RawFiles, model: type[Model], parts: Parts) -> Model | None:
    read = read_yaml(name, raw.contents[name], parts.problems)
    if read is None:
        return None
    document = Document(*read)
    parts.documents[name] = document
    checked = check_shape(document, model, parts.problems)
    sound = sound_items(document, model) if checked is None else None
    if sound is not None:
        parts.sound[name] = sound
    return checked


def _assemble(root: Path, revision: str, parts: Parts, descriptors: DescriptorSet | None) -> PolicySet:
    providers, routes = parts.find(ProvidersFile), parts.find(RoutesFile)
    merchants, quotas, risk = parts.find(MerchantsFile), parts.find(QuotasFile), parts.find(RiskFile)
    if parts.problems.has_errors or not (providers and routes and merchants and quotas and risk):
        raise PolicyInvalid(parts.problems.problems)
    profiles = parts.profiles()
    return PolicySet(
        root=root,
        revision=revision,
        providers=providers,
        routes=routes,
        profiles=MappingProxyType({profile.profile: profile for profile in profiles.values()}),
        merchants=merchants,
        quotas=quotas,
        risk=risk,
        profile_files=MappingProxyType({profile.profile: name for name, profile in profiles.items()}),
        warnings=parts.problems.problems,
        documents=MappingProxyType(dict(parts.documents)),
        descriptors=descriptors,
        tests=MappingProxyType(parts.tests()),
        rates=parts.find(RatesFile),
    )
