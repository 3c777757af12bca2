"""The sub-commands of `tollhouse quota`: how a merchant's quotas stand, begin one anew, write a raise down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from chassis.clock import SystemClock
from chassis.store_link import StoreSettings
from policy.diagnostics import PolicyInvalid
from policy.loader import PolicySet, load_policy_set
from ratelimit.compile import compile_tables
from ratelimit.leased import largest_share
from ratelimit.tables import Limit, Tables
from ratelimit.usage import Usage
from tollhouse import options as of
from tollhouse.quota_raise import override_entry
from tollhouse.quota_store import reset_quota, with_store
from tollhouse.store_command import StoreRefused, check_text, store_login

quota_app = typer.Typer(no_args_is_help=True)

_COLUMNS: Final = ("quota", "operation", "mode", "limit", "used", "remaining", "resets_at")
_Policies = Annotated[Path, typer.Option(help="Directory of the policy set that the replicas serve.")]
_Merchant = Annotated[str, typer.Option(help="Id of the merchant.")]
_Store = Annotated[str, of.STORE.option()]
_Username = Annotated[str, of.STORE_USERNAME.option()]
_SentinelPasswordFile = Annotated[Path | None, of.SENTINEL_PASSWORD_FILE.option()]
_PasswordFile = Annotated[Path | None, of.STORE_PASSWORD_FILE.option()]


@quota_app.command("show")
def show_command(  # noqa: PLR0913 - one parameter an option
    policies: _Policies,
    store: _Store,
    merchant: _Merchant,
    quota: Annotated[str | None, typer.Option(help="This quota alone.")] = None,
    is_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    store_username: _Username = "",
    store_password_file: _PasswordFile = None,
    sentinel_password_file: _SentinelPasswordFile = None,
) -> None:
    """Print what each quota of a merchant has counted in its current window; counts nothing itself."""
    try:
        tables = _tables(policies, merchant)
        settings = StoreSettings(login=store_login(store_username, store_password_file, sentinel_password_file))
        found = with_store(store, settings, lambda opened: opened.usage(tables, merchant))
        rows = [usage_row(usage) for usage in found if quota in (None, usage.limit.quota)]
        if not rows:
            raise StoreRefused("--quota: no quota of this merchant has that id")
    except StoreRefused as error:
        raise _refusal(error) from error
    for line in [json.dumps(row, sort_keys=True) for row in rows] if is_json else table_lines(rows):
        typer.echo(line)


@quota_app.command("reset")
def reset_command(  # noqa: PLR0913 - one parameter an option
    policies: _Policies,
    store: _Store,
    merchant: _Merchant,
    quota: Annotated[str, typer.Option(help="Id of the quota whose current window begins anew.")],
    operator: Annotated[str, typer.Option(help="Who resets it; kept in the store.")],
    reason: Annotated[str, typer.Option(help="Why what was counted may be forgotten; kept in the store.")],
    store_username: _Username = "",
    store_password_file: _PasswordFile = None,
    sentinel_password_file: _SentinelPasswordFile = None,
    store_wait_replicas: Annotated[int, of.STORE_WAIT_REPLICAS.option()] = of.STORE_WAIT_REPLICAS.default,
) -> None:
    """Set what a quota has counted in its current window to nothing.

    Prints the record that it wrote into the store, as one line of JSON.
    """
    try:
        check_text("--operator", operator)
        check_text("--reason", reason)
        tables = _tables(policies, merchant)
        login = store_login(store_username, store_password_file, sentinel_password_file)
        settings = StoreSettings(login=login, wait_replicas=store_wait_replicas)
        words = {"operator": operator, "reason": reason}
        record = with_store(store, settings, lambda opened: reset_quota(opened, tables, merchant, quota, words))
    except StoreRefused as error:
        raise _refusal(error) from error
    typer.echo(json.dumps({**record, "at": _time(float(record["at"]))}, sort_keys=True))


@quota_app.command("raise")
def raise_command(  # noqa: PLR0913 - one parameter an option
    policies: _Policies,
    merchant: _Merchant,
    quota: Annotated[str, typer.Option(help="Id of the quota.")],
    limit: Annotated[str, typer.Option(help="The value while it holds; minor units for amounts.")],
    until: Annotated[str, typer.Option(help="Last day, such as 2026-12-31, local to the merchant.")],
    owner: Annotated[str, typer.Option(help="Who asks for it.")],
    approver: Annotated[str, typer.Option(help="Who agreed; somebody else.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    starts: Annotated[str | None, typer.Option("--from", help="First day; left out: today.")] = None,
) -> None:
    """Print the entry of merchants.yaml that gives a merchant a larger value for a time; changes nothing.

    The entry is checked as if it stood in the set. It holds once it is merged into `overrides` and loaded.
    """
    try:
        loaded, tables = _loaded(policies, merchant)
        today = datetime.fromtimestamp(SystemClock().wall(), tables.merchants[merchant].zone).date()
        fields = {"merchant": merchant, "quota": quota, "limit": limit, "ends": until, "owner": owner}
        fields |= {"starts": starts or today.isoformat(), "approver": approver, "reason": reason}
        for name in ("owner", "approver", "reason"):
            check_text(f"--{name}", fields[name])
        entry = override_entry(loaded, fields, today)
    except StoreRefused as error:
        raise _refusal(error) from error
    typer.echo("# merge into merchants.yaml; it holds when the set is loaded with it")
    typer.echo(f"overrides:\n{entry}")


def usage_row(usage: Usage) -> dict[str, Any]:
    """Return what is shown of one quota."""
    limit, state = usage.limit, usage.state
    row: dict[str, Any] = {
        "quota": limit.quota,
        "operation": usage.operation,
        "mode": "shadow" if limit.is_shadow else "enforce",
        "limit": usage.value,
    }
    if state is None:
        return {**row, "note": _why_unread(limit)}
    row |= {"used": state.used, "remaining": max(0, state.limit - state.used)}
    if usage.limit.is_leased:
        # Drawn counts as used: what a replica has drawn and not spent yet is in here.
        row["drawn_by_each_replica_up_to"] = largest_share(state.limit)
    return row if usage.resets_at is None else {**row, "resets_at": _time(usage.resets_at)}


def _why_unread(limit: Limit) -> str:
    return "each payment by itself" if limit.is_single else f"a counter for each {' and '.join(limit.dimensions)}"


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return rows under a heading, in columns as wide as what is in them; a note stands behind the limit."""
    cells = [_COLUMNS] + [_cells(row) for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(_COLUMNS))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "note" in row:
        return (*(str(row[name]) for name in _COLUMNS[:4]), "", "", str(row["note"]))
    return tuple(str(row.get(name, "")) for name in _COLUMNS)


def _tables(policies: Path, merchant: str) -> Tables:
    return _loaded(policies, merchant)[1]


def _loaded(policies: Path, merchant: str) -> tuple[PolicySet, Tables]:
    try:
        loaded = load_policy_set(policies)
    except PolicyInvalid as error:
        raise StoreRefused("--policies: the set does not load; `tollhouse check` says why") from error
    tables = compile_tables(loaded)
    if merchant not in tables.merchants:
        raise StoreRefused("--merchant: the policy set knows no such merchant")
    return loaded, tables


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _refusal(error: StoreRefused) -> typer.Exit:
    typer.echo(f"tollhouse quota: {error}", err=True)
    return typer.Exit(2)
