"""Which of this machine's pip settings the image build takes over."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "compose" / "offline" / "pip_settings.py"


@pytest.fixture
def as_configuration():
    specification = importlib.util.spec_from_file_location("pip_settings", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.as_configuration


def test_places_of_packages_are_taken_over_and_paths_of_this_machine_are_not(as_configuration):
    lines = [
        "global.cert='/home/someone/bundle.pem'",
        "global.index-url='https://packages.example/simple'",
        "install.trusted-host='packages.example'",
        ":env:.find-links='/home/someone/wheels'",
        ":env:.default-timeout='180'",
    ]
    assert dict(as_configuration(lines, "/bundle.pem")["global"]) == {
        "index-url": "https://packages.example/simple",
        "trusted-host": "packages.example",
        "default-timeout": "180",
        "cert": "/bundle.pem",
    }


def test_a_variable_wins_over_a_file(as_configuration):
    for lines in (["global.proxy='a'", ":env:.proxy='b'"], [":env:.proxy='b'", "global.proxy='a'"]):
        assert as_configuration(lines, "x")["global"]["proxy"] == "b"


def test_a_value_keeps_its_equals_and_percent_signs(as_configuration):
    written = io.StringIO()
    as_configuration(["global.index-url='https://h.example/a%20b?c=d'"], "x").write(written)
    assert "index-url = https://h.example/a%20b?c=d" in written.getvalue()


def test_a_line_of_another_form_is_refused_without_its_value(as_configuration):
    with pytest.raises(ValueError, match="not a pip setting"):
        as_configuration(["something else"], "x")


def test_without_a_bundle_pip_goes_by_its_own(as_configuration):
    assert dict(as_configuration(["global.cert='/home/someone/bundle.pem'"], "")["global"]) == {}
