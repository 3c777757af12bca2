"""Reads an Envoy configuration into plain values, for checks of it; Envoy itself never sees what is read here.

Unlike the policy set's own reader this one takes anchors and aliases, which Envoy's files live from. Tags are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_VALUES: Final = 200_000
"""Values with every alias written out: a small file can stand for a very large one."""
_KEYED: Final = frozenset({"providers", "requirement_map", "typed_per_filter_config", "filter_metadata"})
"""Members whose own members have names of somebody's choice."""


class EnvoyFileRefused(Exception):  # noqa: N818 - says what happened
    """The file cannot be read; the message says why, without its content."""


def read_envoy_file(path: Path) -> dict[str, Any]:
    """Return the document with member names as in the protos: `extractOnly...` becomes `extract_only...`.

    Args:
        path: YAML or JSON.

    Raises:
        EnvoyFileRefused: Not readable, too large, or no mapping.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EnvoyFileRefused(error.strerror or "cannot be read") from None
    if len(data) > MAX_BYTES:
        raise EnvoyFileRefused(f"longer than {MAX_BYTES} bytes")
    try:
        document = yaml.load(data.decode("utf-8"), Loader=_OnceLoader)  # noqa: S506 - a SafeLoader
        read = _Names().of(document)
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError):
        raise EnvoyFileRefused("not YAML that can be read") from None
    if not isinstance(read, dict):
        raise EnvoyFileRefused("no mapping")
    return read


class _OnceLoader(yaml.SafeLoader):
    """Refuses a member that is there twice, or merged in: two readers could take another one each."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [(key.tag, str(key.value)) for key, _ in node.value]
        if len(set(keys)) != len(keys) or any(tag.endswith(":merge") for tag, _ in keys):
            raise yaml.YAMLError
        return super().construct_mapping(node, deep)


class _Names:
    """Copies a document with the protos' names; counts what it copies."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def of(self, value: Any, *, are_chosen: bool = False) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too large")
        if isinstance(value, list):
            return [self.of(item) for item in value]
        if not isinstance(value, dict):
            return value
        copy: dict[str, Any] = {}
        for key, item in value.items():
            name = str(key) if are_chosen else _snake(str(key))
            if name in copy:
                raise ValueError("a member in both spellings")
            copy[name] = self.of(item, are_chosen=name in _KEYED and not are_chosen)
        return copy


def _snake(name: str) -> str:
    """Return `payloadInMetadata` as `payload_in_metadata`; Envoy takes both spellings."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
