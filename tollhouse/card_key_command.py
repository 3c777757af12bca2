"""The sub-commands of `tollhouse card-key`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from tollhouse.card_key_file import CardKeyRefused, drop_old_card_key, new_card_keys, rotate_card_keys

card_key_app = typer.Typer(no_args_is_help=True)

_File = Annotated[Path, typer.Argument(help="Card key file, as for --card-key-file.")]


@card_key_app.command("new")
def new_command(path: _File) -> None:
    """Write a card key file with one fresh key; never over one that is there."""
    try:
        typer.echo(f"{path}: key {new_card_keys(path, _today())}")
    except CardKeyRefused as error:
        raise _refusal(error) from error


@card_key_app.command("rotate")
def rotate_command(path: _File) -> None:
    """Put a fresh key before the current one; cards are counted under both until the old one is dropped."""
    try:
        new, old = rotate_card_keys(path, _today())
    except CardKeyRefused as error:
        raise _refusal(error) from error
    typer.echo(f"{path}: key {new} replaces {old}; drop {old} when a new window began after all replicas had both")


@card_key_app.command("drop")
def drop_command(path: _File) -> None:
    """Take the replaced key out of the file."""
    try:
        typer.echo(f"{path}: key {drop_old_card_key(path)} dropped")
    except CardKeyRefused as error:
        raise _refusal(error) from error


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _refusal(error: CardKeyRefused) -> typer.Exit:
    typer.echo(f"tollhouse card-key: {error}", err=True)
    return typer.Exit(1)
