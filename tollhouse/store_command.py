"""The sub-commands of `tollhouse store`: what a store is, and an operator's word that it may begin from nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from redis.exceptions import RedisError

from chassis.store_cluster import slot_of
from chassis.store_epochs import accept_empty_slots
from chassis.store_nodes import ClusterNodes, is_cluster
from chassis.store_places import Open, close, store_opener
from chassis.store_url import StoreLogin, has_password
from chassis.store_watch import EPOCH_KEY, StoreStatus, accept_empty, read_status
from tollhouse import options as of

store_app = typer.Typer(no_args_is_help=True)

_WITHIN_SECONDS: Final = 5.0
_LONGEST_TEXT: Final = 300
_Result = TypeVar("_Result")

_Store = Annotated[str, of.STORE.option()]
_Username = Annotated[str, of.STORE_USERNAME.option()]
_SentinelPasswordFile = Annotated[Path | None, of.SENTINEL_PASSWORD_FILE.option()]
_PasswordFile = Annotated[Path | None, of.STORE_PASSWORD_FILE.option()]


class StoreRefused(Exception):  # noqa: N818 - the word operators read
    """The command cannot be done; the text is for a person and holds no part of the URL."""


class _UrlError(ValueError):
    """The URL is not understood; the text repeats nothing of it."""


@store_app.command("status")
def status_command(
    store: _Store,
    store_username: _Username = "",
    store_password_file: _PasswordFile = None,
    sentinel_password_file: _SentinelPasswordFile = None,
) -> None:
    """Print what the store is; exit code 1 when amounts would not be counted in it."""
    try:
        statuses = _run(store, _look(store, store_login(store_username, store_password_file, sentinel_password_file)))
    except StoreRefused as error:
        raise _refusal(error) from error
    for name, status in statuses.items():
        for line in (*([name] if name else []), *status_lines(status)):
            typer.echo(line)
    raise typer.Exit(1 if any(status.doubt for status in statuses.values()) else 0)


@store_app.command("accept-empty")
def accept_empty_command(  # noqa: PLR0913 - one parameter an option
    store: _Store,
    operator: Annotated[str, typer.Option(help="Who accepts it; kept in the store.")],
    reason: Annotated[str, typer.Option(help="Why what the store has forgotten may be forgotten; kept in the store.")],
    store_username: _Username = "",
    store_password_file: _PasswordFile = None,
    sentinel_password_file: _SentinelPasswordFile = None,
) -> None:
    """Accept a store that has lost counters: amounts are counted in it again, from what it holds now.

    Prints the record that it wrote, as one line of JSON.
    """
    try:
        check_text("--operator", operator)
        check_text("--reason", reason)
        login = store_login(store_username, store_password_file, sentinel_password_file)
        record = _run(store, _accept(store, login, operator, reason))
    except StoreRefused as error:
        raise _refusal(error) from error
    typer.echo(json.dumps(record, sort_keys=True))


def status_lines(status: StoreStatus) -> list[str]:
    """Return what `status` prints, a line a fact."""
    facts = status.facts
    lines = [
        f"server       {facts.server}",
        f"role         {facts.role}",
        f"eviction     {facts.eviction}",
        f"persistence  {facts.persistence}",
        f"replicas     {facts.replicas}",
        f"epoch        {status.epoch or 'none'}",
    ]
    if status.accepted:
        lines.append(f"accepted     {status.accepted}")
    return [*lines, f"amounts      {'not counted: ' + status.doubt if status.doubt else 'counted'}"]


def store_login(username: str, password_file: Path | None, sentinel_password_file: Path | None) -> StoreLogin | None:
    """Return how the store is logged in to, None without a login; raises StoreRefused."""
    if username and password_file is None:
        raise StoreRefused("--store-username needs --store-password-file")
    names = ["" if path is None else str(path.absolute()) for path in (password_file, sentinel_password_file)]
    return StoreLogin(names[0], username, names[1]) if any(names) else None


def check_text(name: str, text: str) -> None:
    """Raise StoreRefused for a text that is no line for people to read."""
    if not text.strip() or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise StoreRefused(f"{name} must be one line of at most {_LONGEST_TEXT} characters")


def _run(url: str, work: Coroutine[Any, Any, _Result]) -> _Result:
    try:
        if has_password(url):
            raise StoreRefused("--store holds a password; put it in a file and name that with --store-password-file")
        return asyncio.run(_within(work))
    except _UrlError as error:
        raise StoreRefused(f"--store: {error}") from error
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        # The kind alone: a server's own words may repeat what was sent.
        raise StoreRefused(f"the store gave no answer: {type(error).__name__}") from error
    finally:
        work.close()


async def _within(work: Coroutine[Any, Any, _Result]) -> _Result:
    async with asyncio.timeout(_WITHIN_SECONDS):
        return await work


async def _look(url: str, login: StoreLogin | None) -> dict[str, StoreStatus]:
    """Return what each node of the store says, by its address; one store alone has none."""
    if not is_cluster(url):
        return {"": await _ask(_understood(store_opener, url, login), read_status)}
    nodes = _understood(ClusterNodes, url, login)
    owners = await nodes.read_map()
    home = owners[slot_of(EPOCH_KEY)]
    others = sorted(set(owners.values()) - {home})
    # Only the node of the cluster's own epoch can tell it; the others would answer that it is elsewhere.
    found = {f"{home[0]}:{home[1]}": await _ask(partial(nodes.connect, home), read_status)}
    for node in others:
        found[f"{node[0]}:{node[1]}"] = await _ask(partial(nodes.connect, node), read_status)
    return found


async def _accept(url: str, login: StoreLogin | None, operator: str, reason: str) -> dict[str, str]:
    seed = secrets.token_hex(16)
    if is_cluster(url):
        return await accept_empty_slots(_understood(ClusterNodes, url, login), seed, operator, reason)
    opened = _understood(store_opener, url, login)
    return await _ask(opened, lambda connection: accept_empty(connection, seed, operator, reason))


def _understood(
    make: Callable[[str, float, StoreLogin | None], _Result], url: str, login: StoreLogin | None
) -> _Result:
    try:
        return make(url, _WITHIN_SECONDS, login)
    except ValueError as error:
        raise _UrlError(str(error)) from error


async def _ask(open_store: Open, ask: Callable[[Any], Awaitable[_Result]]) -> _Result:
    connection = await open_store()
    try:
        return await ask(connection)
    finally:
        await close(connection)


def _refusal(error: StoreRefused) -> typer.Exit:
    typer.echo(f"tollhouse store: {error}", err=True)
    return typer.Exit(2)
