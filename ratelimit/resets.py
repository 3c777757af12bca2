"""Sets counters to nothing at an operator's word, with a record of it in the store; never on the request path.

Called by `tollhouse quota reset`. Its law: the record is written in the same script call, before anything is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from chassis.clock import Clock
from chassis.cluster_calls import calls_over
from chassis.store_cluster import StoreCluster
from chassis.store_link import StoreLink, StoreUnavailable, Unavailability

_RESET: Final = "reset"


class Reset(NamedTuple):
    """Counters that begin anew together.

    Attributes:
        records_key: Where the record is kept, newest last; shares the hash tag of the counters.
        keys: The counters.
        record: Who, why and what: text by name.
    """

    records_key: str
    keys: Sequence[str]
    record: Mapping[str, str]


def reset_scripts() -> dict[str, str]:
    """Return the script that `StoreResets` calls, under its name."""
    return {_RESET: files("ratelimit").joinpath("lua").joinpath(f"{_RESET}.lua").read_text("utf-8")}


class StoreResets:
    """Resets over a link that knows `reset_scripts` and that somebody else starts and stops.

    Args:
        link: To the store of the counters.
        clock: `monotonic()` is what deadlines are measured on.
    """

    def __init__(self, link: StoreLink | StoreCluster, clock: Clock) -> None:
        self._calls = calls_over(link, _RESET, clock, _pack, _read)

    async def reset(self, reset: Reset, deadline: float) -> dict[str, str]:
        """Forget the counters; return the record as it was written.

        Raises:
            StoreUnavailable: No answer; the counters may be forgotten all the same, and then the record tells.
        """
        return await self._calls.ask_at(reset.records_key, reset, deadline)


def _pack(resets: Sequence[Reset]) -> tuple[list[str], list[str | int]]:
    keys: list[str] = []
    arguments: list[str | int] = []
    for reset in resets:
        keys += (reset.records_key, *reset.keys)
        arguments += (1 + len(reset.keys), json.dumps(dict(reset.record), sort_keys=True))
    return keys, arguments


def _read(_reset: Reset, answer: Any) -> dict[str, str] | Exception:
    try:
        record = json.loads(answer)
    except (TypeError, ValueError):
        return StoreUnavailable(Unavailability.PROTOCOL)
    return record if type(record) is dict else StoreUnavailable(Unavailability.PROTOCOL)
