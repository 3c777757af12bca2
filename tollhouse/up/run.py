"""`tollhouse up`: start the stack, say where everything is, stop it; or send the sample payments and stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Final

from rich.console import Console

from chassis.envoy_host import NO_LIBPYTHON, has_libpython
from tollhouse.samples import send_samples
from tollhouse.scenarios import SCENARIOS
from tollhouse.token import TokenRefused, fetch_token
from tollhouse.up.failure import UpFailed
from tollhouse.up.ports import choose_ports
from tollhouse.up.screen import show_outcomes, show_stack
from tollhouse.up.stack import Stack

_RUN_DIRECTORY: Final = Path(".run")


def run_up(*, once: bool, port: int, policies: Path, transport: str | None, is_tls: bool = False) -> int:
    """Run the stack until Ctrl-C or SIGTERM, or once through the sample payments.

    Args:
        once: Send the sample payments, print the table, stop.
        port: Of the Envoy listener.
        policies: The policy set to serve.
        transport: `envoy`, `grpcio`, or None for what the machine can do.
        is_tls: Whether Envoy and the services speak mutual TLS.

    Returns:
        The exit code: 0 after an orderly stop, and with `once` only if every row came out as expected.
    """
    console = Console(highlight=False)
    if transport is None and not has_libpython():
        console.print(NO_LIBPYTHON, markup=False, soft_wrap=True)
    try:
        stack = Stack(_RUN_DIRECTORY / str(port), choose_ports(port), policies, transport, is_tls=is_tls)
        return asyncio.run(_run(stack, console, once=once))
    except KeyboardInterrupt:  # before the handlers were in place, so nothing was started
        return 130
    except UpFailed as error:
        console.print(f"tollhouse up: {error}", style="bold red", markup=False)
        return 1


async def _run(stack: Stack, console: Console, *, once: bool) -> int:
    """Do the work while listening for signals and for a part that ends."""
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    work = asyncio.create_task(_send_once(stack, console) if once else _serve(stack, console))
    stop = asyncio.create_task(told_to_stop.wait())
    ended = asyncio.create_task(stack.first_end())
    try:
        await asyncio.wait({work, stop, ended}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        if ended.done():
            raise UpFailed(ended.result())
        return 130 if once else 0
    finally:
        for task in (work, stop, ended):
            task.cancel()
        await asyncio.gather(work, stop, ended, return_exceptions=True)
        with console.status("stopping ..."):
            await stack.stop()
        with contextlib.suppress(OSError):
            console.print("stopped; nothing is left running")


async def _serve(stack: Stack, console: Console) -> int:
    await _start(stack, console)
    try:
        token = await asyncio.to_thread(fetch_token, stack.issuer_url)
    except TokenRefused as error:
        raise UpFailed(str(error)) from error
    show_stack(console, stack, token)
    await asyncio.Event().wait()  # until cancelled: by a signal, or by the end of a part
    return 0


async def _send_once(stack: Stack, console: Console) -> int:
    await _start(stack, console)
    outcomes = []
    try:
        with console.status("sending the sample payments ...") as status:
            async for outcome in send_samples(stack, SCENARIOS):
                outcomes.append(outcome)
                status.update(f"sent {len(outcomes)} of {len(SCENARIOS)}: {outcome.scenario.title}")
    except TokenRefused as error:
        raise UpFailed(str(error)) from error
    return show_outcomes(console, outcomes, len(SCENARIOS))


async def _start(stack: Stack, console: Console) -> None:
    await stack.start(lambda what: console.print(f"starting {what} ...", markup=False))
