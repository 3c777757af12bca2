"""A store that answers wrongly, or not at all: the link ends the connection and answers everyone."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chassis import name_lookup
from chassis.clock import SystemClock
from chassis.store_link import StoreLink, StoreSettings, StoreUnavailable, Unavailability
from helpers.store_faults import FakeStore, echo, fake_store, until

CLOCK = SystemClock()
QUICK = StoreSettings(
    connect_timeout_seconds=5.0, reply_timeout_seconds=0.2, first_backoff_seconds=0.01, max_backoff_seconds=0.02
)


@asynccontextmanager
async def linked(store: FakeStore, settings: StoreSettings = QUICK) -> AsyncIterator[StoreLink]:
    link = StoreLink(store.url, {"echo": "return {tonumber(ARGV[1])}"}, clock=CLOCK, settings=settings)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()


async def call(link: StoreLink, *, seconds: float = 5.0) -> int | Unavailability:
    try:
        (answer,) = await link.call("echo", [], [], CLOCK.monotonic() + seconds)
    except StoreUnavailable as error:
        return error.why
    return answer


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        pytest.param(lambda n: b"*2\r\n:%d\r\n:1\r\n" % (n + 1), "PROTOCOL", id="another call's sequence number"),
        pytest.param(lambda n: b"*2\r\n$%d\r\n%d\r\n:1\r\n" % (len(str(n)), n), "PROTOCOL", id="number as text"),
        pytest.param(lambda n: b"*0\r\n", "PROTOCOL", id="empty list"),
        pytest.param(lambda n: b"*-1\r\n", "PROTOCOL", id="null list"),
        pytest.param(lambda n: b":%d\r\n" % n, "PROTOCOL", id="no list"),
        pytest.param(lambda n: b"+OK\r\n", "PROTOCOL", id="a status"),
        pytest.param(lambda n: b"*2\r\n:%d\r\n-ERR inside\r\n" % n, "PROTOCOL", id="an error inside"),
        pytest.param(lambda n: b"?\r\nnonsense", "PROTOCOL", id="no RESP at all"),
        pytest.param(lambda n: b"HTTP/1.1 400 Bad Request\r\n\r\n", "PROTOCOL", id="an HTTP server"),
        pytest.param(lambda n: b"-ERR \xff\xfe secret\r\n", "ERROR_REPLY", id="an error that is no text"),
        pytest.param(lambda n: b"-OOM command not allowed\r\n", "ERROR_REPLY", id="an error"),
        pytest.param(lambda n: b"-NOSCRIPT No matching script.\r\n", "ERROR_REPLY", id="script unknown"),
        pytest.param(lambda n: b"-LOADING in progress\r\n", "LOST", id="loading"),
        pytest.param(lambda n: None, "LOST", id="connection closed"),
        pytest.param(lambda n: b"*2\r\n:%d\r\n" % n, "SLOW", id="half a reply"),
        pytest.param(lambda n: b"", "SLOW", id="silence"),
    ],
)
async def test_wrong_reply_ends_the_connection_and_answers_every_waiter(lie, why):
    async with fake_store() as store, linked(store) as link:
        assert isinstance(await call(link), int)
        store.reply = lie
        answers = await asyncio.gather(*(call(link) for _ in range(64)))
        assert set(answers) == {Unavailability[why]}
        store.reply = echo
        await until(lambda: link.is_connected)
        assert isinstance(await call(link), int)
        assert store.connections == 2
        assert len(store.sequences) == len(set(store.sequences)), "a call was sent twice"


async def test_reply_nobody_asked_for_ends_the_connection():
    async with fake_store() as store, linked(store) as link:
        store.reply = lambda sequence: echo(sequence) + echo(sequence + 1)
        assert isinstance(await call(link), int)
        await until(lambda: store.connections == 2)


async def test_swapped_replies_reach_nobody():
    async with fake_store() as store, linked(store) as link:
        held: list[int] = []

        def swap(sequence: int) -> bytes:
            held.append(sequence)
            return echo(held[1]) + echo(held[0]) if len(held) == 2 else b""

        store.reply = swap
        assert await asyncio.gather(call(link), call(link)) == [Unavailability.PROTOCOL] * 2


async def test_only_those_before_the_wrong_reply_are_answered():
    async with fake_store() as store, linked(store) as link:
        first = len(store.sequences)
        store.reply = lambda sequence: echo(sequence) if len(store.sequences) <= first + 3 else b"-ERR no\r\n"
        answers = await asyncio.gather(*(call(link) for _ in range(6)))
        assert answers[:3] == store.sequences[:3]
        assert answers[3:] == [Unavailability.ERROR_REPLY] * 3


async def test_late_replies_of_those_who_gave_up_are_passed_over():
    patient = StoreSettings(reply_timeout_seconds=60.0)
    async with fake_store(lambda _: b"") as store, linked(store, patient) as link:
        assert await asyncio.gather(*(call(link, seconds=0.02) for _ in range(5))) == [Unavailability.DEADLINE] * 5
        owed = b"".join(map(echo, store.sequences))
        store.reply = lambda sequence: owed + echo(sequence)
        assert await call(link) == store.sequences[-1]
        assert store.connections == 1


async def test_caller_cancelled_while_waiting_keeps_the_order():
    async with fake_store(lambda _: b"") as store, linked(store, StoreSettings(reply_timeout_seconds=60.0)) as link:
        waiting = [asyncio.create_task(call(link)) for _ in range(3)]
        await until(lambda: len(store.sequences) == 3)
        waiting[1].cancel()
        owed = b"".join(map(echo, store.sequences))
        store.reply = lambda sequence: owed + echo(sequence)
        assert await call(link) == store.sequences[3]
        assert await asyncio.gather(waiting[0], waiting[2]) == [store.sequences[0], store.sequences[2]]
        assert waiting[1].cancelled()


async def test_full_queue_refuses_at_once_and_sends_nothing():
    narrow = StoreSettings(max_waiting_calls=3, reply_timeout_seconds=60.0)
    async with fake_store(lambda _: b"") as store, linked(store, narrow) as link:
        waiting = [asyncio.create_task(call(link)) for _ in range(3)]
        await until(lambda: len(store.sequences) == 3)
        assert await call(link) is Unavailability.FULL
        await link.stop()
        assert await asyncio.gather(*waiting) == [Unavailability.STOPPED] * 3
        assert len(store.sequences) == 3


async def test_store_that_does_not_read_fills_no_memory():
    narrow = StoreSettings(max_waiting_calls=10**6, max_unsent_bytes=1000, reply_timeout_seconds=60.0)
    async with fake_store() as store, linked(store, narrow) as link:
        big = "x" * 1_000_000
        deadline = CLOCK.monotonic() + 0.2
        # No await in between: the fake store, on the same loop, reads nothing meanwhile.
        sent = []

        def send_for_ever() -> None:
            while True:
                sent.append(link.submit("echo", [], [big], deadline))

        with pytest.raises(StoreUnavailable, match="full"):
            send_for_ever()
        assert len(sent) < 50
        await link.stop()
        assert all(isinstance(reply.exception(), StoreUnavailable) for reply in sent)


async def test_deadline_that_has_passed_sends_nothing():
    async with fake_store() as store, linked(store) as link:
        assert await call(link, seconds=0) is Unavailability.DEADLINE
        assert await call(link) == store.sequences[0]
        assert len(store.sequences) == 1


async def test_store_that_names_a_script_otherwise_is_not_used():
    async with fake_store() as store:
        store._answer = lambda command: b"$4\r\nnope\r\n"  # type: ignore[method-assign]
        async with linked(store) as link:
            assert not link.is_connected
            assert await call(link) is Unavailability.NOT_CONNECTED
            await until(lambda: store.connections > 2)


async def test_stranger_that_accepts_and_stays_silent_is_left_again():
    hasty = StoreSettings(connect_timeout_seconds=0.05, first_backoff_seconds=0.01, max_backoff_seconds=0.02)
    async with fake_store() as store:
        store._answer = lambda command: b""  # type: ignore[method-assign]
        async with linked(store, hasty) as link:
            assert not link.is_connected
            await until(lambda: store.connections > 2)
            del store._answer  # type: ignore[method-assign]
            await until(lambda: link.is_connected)
            assert isinstance(await call(link), int)


async def test_stop_answers_those_who_wait_and_can_start_again():
    async with fake_store(lambda _: b"") as store, linked(store, StoreSettings(reply_timeout_seconds=60.0)) as link:
        waiting = asyncio.create_task(call(link))
        await until(lambda: len(store.sequences) == 1)
        await link.stop()
        await link.stop()
        assert await waiting is Unavailability.STOPPED
        assert await call(link) is Unavailability.NOT_CONNECTED
        store.reply = echo
        await link.start()
        assert isinstance(await call(link), int)


def _certificate(directory: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "store.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


async def test_tls_store_is_used_only_when_its_certificate_is_vouched_for(tmp_path):
    pem = _certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    async with fake_store(tls=tls) as store:
        plain_url = store.url
        async with linked(store) as link:
            assert not link.is_connected
        store.url = f"{plain_url}?ssl_ca_certs={pem}"
        async with linked(store) as link:
            assert await call(link) == store.sequences[-1]
        store.url = store.url.replace("127.0.0.1", "localhost")
        async with linked(store) as link:
            assert not link.is_connected, "the certificate is for another name"


async def test_next_address_of_a_name_is_tried_where_nothing_listens_at_the_first(monkeypatch):
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr(name_lookup.socket, "getaddrinfo", lambda *_, **__: both)
    async with fake_store() as store:
        store.url = store.url.replace("127.0.0.1", "store.test")
        async with linked(store) as link:
            assert await call(link) == store.sequences[-1]
