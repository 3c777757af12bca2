"""Print this machine's pip settings as a pip.conf for another machine that has the certificates elsewhere.

Usage: pip_settings.py CERTIFICATES

CERTIFICATES is where the other machine keeps them, "" where it goes by pip's own. Taken over is where packages come
from and how patiently; never a path of this machine. Runs in the interpreter whose pip is asked.
"""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterable

_TAKEN_OVER = frozenset({"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"})


def as_configuration(lines: Iterable[str], certificates: str) -> configparser.RawConfigParser:
    """Return what `pip config list` printed as a configuration.

    Args:
        lines: `section.name='value'`, the least binding first; a variable's section is `:env:`.
        certificates: Path of the bundle to trust; "" for none of its own.

    Raises:
        ValueError: A line is not of that form.
    """
    found: dict[str, str] = {}
    from_environment: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"not a pip setting: {name.rpartition('.')[2]}")
        section, _, option = name.rpartition(".")
        if option in _TAKEN_OVER:
            # Options of single commands count like global ones: the other machine only installs.
            (from_environment if section == ":env:" else found)[option] = str(ast.literal_eval(value))
    configuration = configparser.RawConfigParser()
    configuration["global"] = {**found, **from_environment, **({"cert": certificates} if certificates else {})}
    return configuration


def main(certificates: str) -> None:
    """Write the configuration to stdout."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True, timeout=60
    )
    as_configuration(listed.stdout.splitlines(), certificates).write(sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
