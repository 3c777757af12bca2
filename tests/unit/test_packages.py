"""The import packages: whose they are, and that importing one does nothing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("chassis", "extauthz", "policy", "protos", "ratelimit", "tollhouse")

# Runs in a process of its own, so that nothing another test imported or started is in the way.
IMPORT_ALL = """
import importlib, json, os, pkgutil, sys, threading
before = set(os.environ.items())
names = []
for package in sys.argv[1:]:
    names.append(package)
    path = importlib.import_module(package).__path__
    names += [found.name for found in pkgutil.walk_packages(path, package + ".") if not found.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
children = open(f"/proc/self/task/{os.getpid()}/children").read() if os.path.exists("/proc/self/task") else ""
sockets = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
           and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") and int(fd) > 2]
print(json.dumps({
    "modules": len(names),
    "threads": threading.active_count(),
    "children": children.split(),
    "sockets": sockets,
    "environment": sorted(set(os.environ.items()) ^ before),
    "handlers": len(__import__("logging").getLogger().handlers),
}))
"""


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_ours(name: str):
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin == str(ROOT / name / "__init__.py")


def test_envoy_package_is_the_wheel_and_our_folder_of_that_name_holds_no_python():
    spec = importlib.util.find_spec("envoy")
    assert spec is not None
    assert "site-packages" in (spec.origin or "")
    assert list((ROOT / "envoy").rglob("*.py")) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_importing_every_module_starts_and_opens_nothing(tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{IMPORT_ALL}", *PACKAGES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found.pop("modules") > 30
    assert found == {"threads": 1, "children": [], "sockets": [], "environment": [], "handlers": 0}
    assert list(tmp_path.iterdir()) == []
