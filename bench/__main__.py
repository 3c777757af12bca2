"""`scripts/bench`: options, the table, the exit code.

Exit code 0: every row counts. 1: a row is void, or a server did not run. 2: the command line is wrong, or
h2load is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from rich.console import Console

from bench.bars import verdicts
from bench.cases import EXTAUTHZ, LEVELS, RATELIMIT, TRANSPORTS, cases_of
from bench.load import NO_H2LOAD, find_h2load
from bench.peers import Peer, parse_peer
from bench.report import Row, as_json, as_table, comparisons
from bench.run import Options, run_bench, services_of
from bench.servers import BenchFailed
from chassis.envoy_host import NO_LIBPYTHON, has_libpython

_CASES = tuple(dict.fromkeys((*cases_of(EXTAUTHZ), *cases_of(RATELIMIT))))
_MAX_SECONDS = 60.0
_MAX_ROUNDS = 50


def main(words: list[str]) -> int:
    """Run the benchmark; return the exit code."""
    asked = _parser().parse_args(words)
    program = find_h2load()
    if program is None:
        print(NO_H2LOAD, file=sys.stderr)
        return 2
    transports = tuple(asked.transport or TRANSPORTS)
    if "envoy" in transports and not has_libpython():
        print(f"the envoy transport cannot be measured here. {NO_LIBPYTHON}", file=sys.stderr)
        return 2
    options = Options(
        services=services_of(asked.service),
        transports=transports,
        cases=tuple(asked.case or _CASES),
        in_flight=tuple(asked.in_flight or sorted(LEVELS)),
        peers=tuple(asked.peer),
        seconds=asked.seconds,
        rounds=asked.rounds,
        store=asked.store,
        issuer_port=asked.issuer_port,
        program=program,
    )
    try:
        rows = asyncio.run(_run_until_told(options))
    except BenchFailed as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("scripts/bench: interrupted, everything it started was ended", file=sys.stderr)
        return 1
    return show(rows, asked.json)


async def _run_until_told(options: Options) -> list[Row]:
    """Run; SIGTERM ends it in order, as Ctrl-C does."""
    running = asyncio.current_task()
    if running is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await run_bench(options, lambda line: print(line, file=sys.stderr, flush=True))


def show(rows: list[Row], json_file: Path | None) -> int:
    """Print the rows, write the file, return the exit code."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(as_table(rows))
    for line in comparisons(rows):
        console.print(line, highlight=False)
    for line in verdicts(rows):
        console.print(line, highlight=False, style="red" if line.startswith("MISSED") else "green")
    if json_file is not None:
        json_file.write_text(as_json(rows), "utf-8")
    void = [row for row in rows if not row.is_valid]
    for row in void:
        name = f"{row.service} {row.case} on {row.transport} at {row.in_flight}"
        print(f"VOID {name}: {row.void or 'nothing was measured'}", file=sys.stderr)
    return 1 if void or not rows else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Server CPU a request and latency, side by side."
    )
    parser.add_argument("service", nargs="?", choices=("check", "ratelimit"), help="default: both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the valid rows there")
    parser.add_argument(
        "--peer", type=_peer, action="append", default=[], metavar="NAME=HOST:PORT:PID", help="measure this server too"
    )
    parser.add_argument("--transport", choices=TRANSPORTS, action="append", help="default: both; may be repeated")
    parser.add_argument("--case", choices=_CASES, action="append", help="default: all; may be repeated")
    parser.add_argument(
        "--in-flight", type=int, choices=sorted(LEVELS), action="append", help="default: all; may be repeated"
    )
    parser.add_argument("--seconds", type=_seconds, default=2.0, help="length of one round of one row (2)")
    parser.add_argument("--rounds", type=_rounds, default=5, help="rounds of each row (5)")
    parser.add_argument("--store", default="", metavar="URL", help="store for ratelimit; default: an embedded Valkey")
    parser.add_argument("--issuer-port", type=int, default=0, help="where peers find /jwks.json; default: any port")
    return parser


def _peer(text: str) -> Peer:
    try:
        return parse_peer(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"seconds must be above 0 and at most {_MAX_SECONDS:.0f}")
    return seconds


def _rounds(text: str) -> int:
    rounds = int(text)
    if not 0 < rounds <= _MAX_ROUNDS:
        raise argparse.ArgumentTypeError(f"rounds must be 1 to {_MAX_ROUNDS}")
    return rounds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
