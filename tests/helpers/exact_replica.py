"""One replica of the limiter's ledger in a process of its own: clients that post without pause, and count what passed.

Run as `python exact_replica.py URL KIND REQUESTS CLIENTS LIMIT NUMBER`; prints a line once connected, begins at a line
on its input, and prints how many postings were charged.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from chassis.clock import SystemClock
from ratelimit.ledger import Entry, Kind, Posting, Status
from ratelimit.store_ledger import StoreLedger

DAY = 86_400
CLOCK = SystemClock()


def posting(kind: Kind, limit: int, member: str) -> Posting:
    """Return a posting of one entry, over a counter that all replicas share and that does not give way meanwhile."""
    common = {"limit": limit, "cost": 1, "expires_in_seconds": DAY, "kind": kind}
    match kind:
        case Kind.WINDOW:
            return Posting([Entry("{m}:window", **common)])
        case Kind.SLIDING:
            return Posting([Entry("{m}:sliding", **common, step=1_440_000, buckets=60)])
        case Kind.RATE:
            # One emission an hour: within the test none comes free.
            return Posting([Entry("{m}:rate", **common, step=3_600_000_000)])
        case _:
            return Posting([Entry(f"{{m}}:{kind.name}", **common, step=DAY * 1000, member=member)])


async def client(ledger: StoreLedger, kind: Kind, limit: int, members: list[str]) -> int:
    """Post once for each member; return how many passed."""
    passed = 0
    for member in members:
        result = await ledger.post(posting(kind, limit, member), CLOCK.monotonic() + 60.0)
        passed += result.status is Status.CHARGED
    return passed


async def main(url: str, kind: Kind, numbers: tuple[int, ...]) -> int:
    requests, clients, limit, replica = numbers
    ledger = StoreLedger.from_url(url, CLOCK)
    await ledger.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        shares = [[f"{replica}.{number}.{turn}" for turn in range(requests // clients)] for number in range(clients)]
        return sum(await asyncio.gather(*(client(ledger, kind, limit, members) for members in shares)))
    finally:
        await ledger.stop()


if __name__ == "__main__":
    print(uvloop.run(main(sys.argv[1], Kind[sys.argv[2]], tuple(map(int, sys.argv[3:])))))
