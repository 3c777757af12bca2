"""What `tollhouse up` shows to a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tollhouse.probe import LOOPBACK
from tollhouse.samples import Outcome
from tollhouse.scenarios import APPROVED
from tollhouse.up.ports import DEFAULTS
from tollhouse.up.stack import Stack


def show_stack(console: Console, stack: Stack, token: str) -> None:
    """Say where each part listens, and how to send a payment."""
    ports = stack.ports
    is_usual_issuer = ports.issuer == DEFAULTS.issuer
    rows = (
        ("Envoy, the gate", ports.envoy, f"http://{LOOPBACK}:{ports.envoy_admin}/stats"),
        ("extauthz", ports.extauthz, f"http://{LOOPBACK}:{ports.extauthz_admin}/"),
        ("ratelimit", ports.ratelimit, f"http://{LOOPBACK}:{ports.ratelimit_admin}/"),
        ("development issuer", ports.issuer, f"{stack.issuer_url}/"),
        ("sample upstream", ports.upstream, f"http://{LOOPBACK}:{ports.upstream_stats}/_stats"),
    )
    table = Table("part", "listens on", "admin page", box=None, pad_edge=False)
    for name, port, link in rows:
        table.add_row(name, f"{LOOPBACK}:{port}", link)
    console.print()
    console.print(table)
    console.print()
    console.print(f"logs:       {stack.directory}/", markup=False, soft_wrap=True)
    console.print(f"policy set: {stack.policies} (an edit takes effect within seconds)", markup=False, soft_wrap=True)
    console.print(f"access log: {stack.access_log}", markup=False, soft_wrap=True)
    another = ".venv/bin/tollhouse token" + ("" if is_usual_issuer else f" --issuer {stack.issuer_url}")
    console.print(
        f"\nA payment; its token lasts five minutes, `{another}` prints another:\n", markup=False, soft_wrap=True
    )
    # soft_wrap: a line break inside a token would spoil the paste.
    console.print(
        f"curl -i http://{LOOPBACK}:{ports.envoy}{APPROVED.path} -H 'content-type: application/json' "
        f"-H 'authorization: Bearer {token}' -d '{APPROVED.body.decode()}'\n",
        markup=False,
        soft_wrap=True,
    )
    console.print("Ctrl-C stops everything.")


def show_outcomes(console: Console, outcomes: Sequence[Outcome], count: int) -> int:
    """Print the table of the sample payments.

    Returns:
        0 if all `count` rows came and came out as expected, else 1.
    """
    # Wide enough for all columns where the output is no terminal, as in a CI log.
    console = console if console.is_terminal else Console(width=190, highlight=False)
    table = Table("", "sent", "expected", "came", "who answered", "reason", "decision id", "ms")
    for outcome in outcomes:
        expected, answer = outcome.scenario.expected, outcome.answer
        problem = answer.problem
        decision_id = problem.get("decision_id") or answer.headers.get("x-tollhouse-decision-id", "-")
        table.add_row(
            "[red]NO[/]" if outcome.mistakes else "[green]ok[/]",
            *(outcome.scenario.title, f"{expected.status} {expected.reason or ''}", str(answer.status)),
            *(outcome.details, str(problem.get("reason", "-")), str(decision_id), f"{answer.latency_ms:.1f}"),
        )
    console.print(table)
    for outcome in outcomes:
        for mistake in outcome.mistakes:
            console.print(f"{outcome.scenario.title}: {mistake}", style="red", markup=False)
    passed = sum(not outcome.mistakes for outcome in outcomes)
    console.print(f"{passed} of {count} rows came out as expected")
    return 0 if passed == count else 1
