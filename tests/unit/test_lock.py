"""The lock names whatever any supported Python needs, not only the one it was made on."""

from __future__ import annotations

import re
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text()
LOCKED = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", LOCK, re.MULTILINE)}


def environment(version: str, machine: str) -> dict[str, str]:
    return {
        "python_version": ".".join(version.split(".")[:2]),
        "python_full_version": version,
        "implementation_version": version,
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", ["3.11.0", "3.11.9", "3.12.3", "3.13.1", "3.14.0"])
def test_lock_names_every_package_that_a_locked_package_needs(version, machine):
    wanted = [
        (canonicalize_name(each.metadata["Name"]), Requirement(text))
        for each in metadata.distributions()
        if canonicalize_name(each.metadata["Name"]) in LOCKED
        for text in each.requires or ()
    ]
    extras = defaultdict(set)
    for _, requirement in wanted:
        extras[canonicalize_name(requirement.name)] |= requirement.extras
    missing = {
        (name, str(requirement))
        for name, requirement in wanted
        for extra in ("", *extras[name])
        if requirement.marker is None or requirement.marker.evaluate({**environment(version, machine), "extra": extra})
        if canonicalize_name(requirement.name) not in LOCKED
    }
    assert not missing


def test_lock_pins_every_package_by_hash_and_names_no_index():
    entries = re.split(r"\n(?=[A-Za-z0-9])", LOCK.strip())
    assert all("--hash=sha256:" in entry and "==" in entry for entry in entries)
    assert "index" not in LOCK
    assert "://" not in LOCK
