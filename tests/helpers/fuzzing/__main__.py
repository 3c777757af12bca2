"""Search for inputs that a reader and its oracle read differently.

`scripts/fuzz [TARGET ...] [--seconds N] [--seed N]`; what is found goes into the corpus, to be mended and committed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from helpers.fuzzing import grpc_targets, policy_target
from helpers.fuzzing.engine import Campaign, Target, fuzz, save, within
from helpers.fuzzing.targets import TARGETS

DEFAULT_SECONDS = 60.0
MAX_SECONDS = 86_400.0
PROGRESS_SECONDS = 10.0


def main(arguments: list[str]) -> int:
    """Run each target for its share of the time; return 1 if there was a find."""
    options = _options(arguments)
    targets = [TARGETS[name] for name in options.targets or sorted(TARGETS)]
    try:
        finds = [_run(target, options.seed, options.seconds / len(targets)) for target in targets]
    finally:
        grpc_targets.close()
        policy_target.close()
    print(f"{sum(finds)} finds, seed {options.seed}")
    return 1 if any(finds) else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of: {', '.join(sorted(TARGETS))}; default: all")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="time for all targets together")
    parser.add_argument("--seed", type=int, default=0, help="the same seed tries the same inputs in the same order")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    if not 0 < options.seconds <= MAX_SECONDS:
        parser.error(f"--seconds must be above 0 and at most {MAX_SECONDS:.0f}")
    return options


def _run(target: Target, seed: int, seconds: float) -> int:
    campaign = fuzz(target, seed, _with_progress(within(seconds)))
    print(_line(campaign), flush=True)
    for find in campaign.finds.values():
        print(f"  {find.error}: {save(find, target)}", flush=True)
    return len(campaign.finds)


def _with_progress(stop: Callable[[Campaign], bool]) -> Callable[[Campaign], bool]:
    """Print how far a campaign is every few seconds, and ask `stop` whether it is over."""
    printed = time.monotonic()

    def stop_and_print(campaign: Campaign) -> bool:
        nonlocal printed
        if time.monotonic() - printed > PROGRESS_SECONDS:
            printed = time.monotonic()
            print(f"  {_line(campaign)} so far", flush=True)
        return stop(campaign)

    return stop_and_print


def _line(campaign: Campaign) -> str:
    return (
        f"{campaign.target.name:14} {campaign.executions:>8} executions {len(campaign.pool):>5} inputs kept "
        f"{len(campaign.arcs):>5} arcs {len(campaign.finds):>3} finds"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
