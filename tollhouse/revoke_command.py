"""`tollhouse revoke`: an operator calls tokens back, or looks at what was called back."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from chassis.clock import Clock, SystemClock
from chassis.store_link import StoreSettings, StoreUnavailable
from chassis.store_nodes import is_cluster
from chassis.store_url import has_password
from extauthz.tokens.claims import MAX_NAME_CHARACTERS
from extauthz.tokens.revocations import Kind, Place, Revocation, forget_at
from extauthz.tokens.store_revocations import StoreRevocations
from policy.settings import MEMORY_STORE
from tollhouse import options as of
from tollhouse.serve import EMBEDDED_STORE
from tollhouse.store_command import StoreRefused, check_text, store_login

_KINDS: Final[tuple[Kind, Kind, Kind]] = ("jti", "sid", "sub")
_WITHIN_SECONDS: Final = 5.0
_CLOCKS_DIFFER_SECONDS: Final = 300.0
_EFFECT: Final = (
    "every replica that reads this store refuses it within 1 s; how many do is not known here, "
    "tollhouse_revocation_entries of each tells"
)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RevokeWords:
    """What the command line says about one entry; None where it says nothing.

    Attributes:
        issuer: `--issuer`.
        named: `--jti`, `--sid` and `--sub`, in this order.
        not_before: `--not-before`.
        until: `--until`.
    """

    issuer: str | None
    named: tuple[str | None, str | None, str | None]
    not_before: str | None
    until: str | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked to be revoked."""
        return not any((self.issuer, *self.named, self.not_before, self.until))


def revoke_command(  # noqa: PLR0913 - one parameter an option
    store: Annotated[str, of.STORE.option()],
    issuer: Annotated[str | None, typer.Option(help="Exact `iss` of the tokens.")] = None,
    jti: Annotated[str | None, typer.Option(help="One token. `-` reads it from the first line of stdin.")] = None,
    sid: Annotated[str | None, typer.Option(help="All tokens of a session. `-` as for --jti.")] = None,
    sub: Annotated[
        str | None, typer.Option(help="All tokens of a subject up to --not-before. `-` as for --jti.")
    ] = None,
    not_before: Annotated[
        str | None, typer.Option(help="With --sub: 2026-01-31T10:00:00Z, or seconds since 1970. Left out: now.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="When it may be forgotten. Left out: when no token it hits can be good any more.")
    ] = None,
    operator: Annotated[str, typer.Option(help="Who revokes; printed in the record.")] = "",
    reason: Annotated[str, typer.Option(help="Why; printed in the record.")] = "",
    is_list: Annotated[bool, typer.Option("--list", help="Print what is revoked, and change nothing.")] = False,
    store_username: Annotated[str, of.STORE_USERNAME.option()] = "",
    store_password_file: Annotated[Path | None, of.STORE_PASSWORD_FILE.option()] = None,
    sentinel_password_file: Annotated[Path | None, of.SENTINEL_PASSWORD_FILE.option()] = None,
    store_wait_replicas: Annotated[int, of.STORE_WAIT_REPLICAS.option()] = of.STORE_WAIT_REPLICAS.default,
) -> None:
    """Have access tokens refused from now on, on every replica; there is no way to take it back.

    Prints the record of it as one line of JSON: keep it. Again is no harm.
    """
    clock = SystemClock()
    words = RevokeWords(issuer, (jti, sid, sub), not_before, until)
    try:
        login = store_login(store_username, store_password_file, sentinel_password_file)
        settings = StoreSettings(login=login, wait_replicas=store_wait_replicas)
        _check_store(store)
        if is_list:
            if not words.is_empty:
                raise StoreRefused("--list changes nothing; take the other options off")
            _print_list(_run(store, clock, settings, _read_all))
            return
        check_text("--operator", operator)
        check_text("--reason", reason)
        entry = entry_of(words, clock.wall())
        deadline = clock.monotonic() + _WITHIN_SECONDS
        _run(store, clock, settings, lambda revocations: revocations.revoke([entry], deadline))
    except StoreRefused as error:
        typer.echo(f"tollhouse revoke: {error}", err=True)
        raise typer.Exit(2) from error
    if until is not None:
        typer.echo("tollhouse revoke: a token that lives longer than --until is good again after it", err=True)
    record = {**_written(entry), "operator": operator, "reason": reason, "at": _time(clock.wall()), "effect": _EFFECT}
    typer.echo(json.dumps(record, sort_keys=True))


def entry_of(words: RevokeWords, now: float) -> Revocation:
    """Return the entry that is asked for.

    Args:
        words: Of the command line.
        now: Wall clock, seconds since 1970.

    Raises:
        StoreRefused: They do not say which tokens are meant, or say what cannot be.
    """
    given = [(kind, value) for kind, value in zip(_KINDS, words.named, strict=True) if value is not None]
    if words.issuer is None or len(given) != 1:
        raise StoreRefused("--issuer is needed, and one of --jti, --sid and --sub")
    kind, value = given[0]
    if value == "-":
        value = sys.stdin.readline().rstrip("\r\n")
    for name, text in (("--issuer", words.issuer), (f"--{kind}", value)):
        if not 0 < len(text) <= MAX_NAME_CHARACTERS or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise StoreRefused(f"{name} must be 1 to {MAX_NAME_CHARACTERS} characters of text")
    if kind != "sub" and words.not_before is not None:
        raise StoreRefused("--not-before goes with --sub; a token or a session is refused whenever it was issued")
    not_before = _seconds("--not-before", words.not_before, now if kind == "sub" else 0.0)
    if not_before > now + _CLOCKS_DIFFER_SECONDS:
        raise StoreRefused("--not-before lies ahead: tokens that do not exist yet are not called back")
    latest = forget_at(now, not_before)
    expires_at = _seconds("--until", words.until, latest)
    if not now < expires_at <= latest:
        raise StoreRefused(f"--until must lie ahead, {_time(latest)} at the latest: no token lives longer")
    return Revocation(kind, words.issuer, value, not_before, expires_at)


def _seconds(name: str, text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = _parsed(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise StoreRefused(f"{name} must be a time such as 2026-01-31T10:00:00Z, or seconds since 1970")
    return seconds


def _parsed(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    # Without a zone it would mean another time on another machine.
    return time.timestamp() if time.tzinfo is not None else math.nan


def _check_store(url: str) -> None:
    if url in (MEMORY_STORE, EMBEDDED_STORE) or is_cluster(url):
        raise StoreRefused("--store must be the store that extauthz reads revocations from, with one primary")
    if has_password(url):
        raise StoreRefused("--store holds a password; put it in a file and name that with --store-password-file")


def _run(
    url: str, clock: Clock, settings: StoreSettings, work: Callable[[StoreRevocations], Awaitable[_Result]]
) -> _Result:
    try:
        revocations = StoreRevocations.from_url(url, clock, settings)
    except ValueError as error:
        raise StoreRefused(f"--store: {error}") from error

    async def run() -> _Result:
        await revocations.start()
        try:
            return await work(revocations)
        finally:
            await revocations.stop()

    try:
        return asyncio.run(run())
    except StoreUnavailable as error:
        raise StoreRefused(
            f"no answer, so nothing is certain: {error.reason}; run it again, that is no harm"
        ) from error


async def _read_all(revocations: StoreRevocations) -> list[Revocation]:
    clock, place, is_last = SystemClock(), Place(), False
    entries: list[Revocation] = []
    while not is_last:
        page = await revocations.read(place, clock.monotonic() + _WITHIN_SECONDS)
        entries.extend(page.entries)
        place, is_last = page.place, page.is_last
    return entries


def _print_list(entries: list[Revocation]) -> None:
    for entry in entries:
        typer.echo(json.dumps(_written(entry), sort_keys=True))
    typer.echo(f"{len(entries)} revoked", err=True)


def _written(entry: Revocation) -> dict[str, Any]:
    times = {"not_before": _time(entry.not_before)} if entry.kind in ("sub", "acr") else {}
    return {"issuer": entry.issuer, entry.kind: entry.value, "until": _time(entry.expires_at), **times}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
