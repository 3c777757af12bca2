"""Flood the gate from one address until told to stop: `python -m tollhouse.flood HOST PORT [SOURCE]`.

A process of its own, so that it can run where its address is another than the paying caller's. stdin brings the
call as one line of JSON; the flood shield's first refusal is written to stdout as one line; the flood goes on until
stdin is closed, or for `_CALLS` calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import IO, Any, Final

from tollhouse.caller import ANSWER_WITHIN_SECONDS, Answer, connect, exchange
from tollhouse.scenarios import Call

_CALLS: Final = 5000
_BAD_TOKEN: Final = "bm90IGEgdG9rZW4"  # noqa: S105 - the point is that it is none
_TOO_MANY: Final = 429
_SHIELD_REASON: Final = "gateway_flood"


@contextmanager
def flooding(command: Sequence[str], call: Call) -> Iterator[Answer | None]:
    """Keep a flood going for the length of the block.

    Args:
        command: Runs this module, here or in a container.
        call: What is sent, with a token that is none.

    Yields:
        The first refusal by the flood shield; None if none came in time.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        if process.stdin is None or process.stdout is None:
            raise AssertionError("unreachable: both are pipes")
        guard = threading.Timer(2 * ANSWER_WITHIN_SECONDS, process.kill)
        guard.start()
        try:
            process.stdin.write(json.dumps({**asdict(call), "body": call.body.decode()}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            yield _answer(json.loads(line)) if line else None
            process.stdin.close()
            process.wait()
        finally:
            guard.cancel()
            process.kill()


def _answer(fields: dict[str, Any]) -> Answer:
    name, value = fields.pop("log_key")
    return Answer(log_key=(name, value), **fields)


def flood(address: tuple[str, int], source: str | None, told: IO[str]) -> None:
    """Send the call that `told` brings until it ends; print the shield's first refusal."""
    fields = json.loads(told.readline())
    call = replace(Call(**fields), body=fields["body"].encode())
    is_over = threading.Event()

    def listen() -> None:
        told.read()
        is_over.set()

    threading.Thread(target=listen, daemon=True).start()
    connection = connect(address, source)
    is_refused = False
    for _ in range(_CALLS):
        if is_over.is_set():
            break
        answer = exchange(connection, call, _BAD_TOKEN)
        # extauthz refuses an address with many bad tokens as well; the flood goes on until the shield does.
        is_shield = answer.status == _TOO_MANY and answer.problem.get("reason") == _SHIELD_REASON
        if is_shield and not is_refused:
            is_refused = True
            print(json.dumps(asdict(answer)), flush=True)
    connection.close()


if __name__ == "__main__":
    flood((sys.argv[1], int(sys.argv[2])), sys.argv[3] if len(sys.argv) > 3 else None, sys.stdin)
