"""The sub-commands of `tollhouse import`: settings of other services, as ours."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from tollhouse.ratelimit_env import Line, render, translate

import_app = typer.Typer(no_args_is_help=True)


@import_app.callback()
def import_callback() -> None:
    """Keep the sub-command's name in the command line although there is one alone."""


@import_app.command("ratelimit-env")
def ratelimit_env_command(
    file: Annotated[
        Path | None,
        typer.Argument(help="Lines NAME=VALUE; - is stdin; without it this environment."),
    ] = None,
) -> None:
    """Print what the environment of envoyproxy/ratelimit means here, as an environment file with a comment a line.

    Exit code 1 when a value was left out because the Go server would not start with it.
    """
    if file is None:
        _print(translate(dict(os.environ), is_file=False))
        return
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        values = dict(_assignments(text))
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"tollhouse import: {file} cannot be read", err=True)
        raise typer.Exit(2) from error
    except ValueError as error:
        typer.echo(f"tollhouse import: {file}:{error}", err=True)
        raise typer.Exit(2) from error
    _print(translate(values, is_file=True))


def _print(lines: list[Line]) -> None:
    typer.echo(render(lines), nl=False)
    if any(line.is_refused for line in lines):
        raise typer.Exit(1)


def _assignments(text: str) -> list[tuple[str, str]]:
    """Return names and values; raises ValueError with the line number alone: a value may be a secret."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise ValueError(f"{number}: a quote is left open") from None
        for word in words[1:] if words[:1] == ["export"] else words:
            name, equals, value = word.partition("=")
            if not equals or not name.isidentifier():
                raise ValueError(f"{number}: not NAME=VALUE")
            found.append((name, value))
    return found
