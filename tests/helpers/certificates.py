"""Authorities, certificates and callers for the TLS tests."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import grpc

from chassis.listen import HostOptions, ListenAddress
from chassis.tls import TlsOptions
from helpers.echo_service import PACKAGE
from helpers.transport_rig import OPTIONS
from tollhouse.development_authority import Authority, KeyPair, Usage, Validity

NOW = dt.datetime.now(dt.UTC)
GOOD = Validity.days_from(NOW, 30)
EXPIRED = Validity(NOW - dt.timedelta(days=2), NOW - dt.timedelta(hours=2))
URI = "spiffe://tollhouse.example/envoy"
DNS = "envoy.tollhouse.example"
SERVER_NAMES = ("localhost", "127.0.0.1", "extauthz")


def authority(name: str = "one") -> Authority:
    # It begins before what it signs, the expired certificates included.
    return Authority(name, Validity(NOW - dt.timedelta(days=3), GOOD.end))


def server_pair(signer: Authority, validity: Validity = GOOD) -> KeyPair:
    return signer.issue(SERVER_NAMES, Usage.SERVER, validity)


def client_pair(signer: Authority, *names: str, usage: Usage = Usage.CLIENT, validity: Validity = GOOD) -> KeyPair:
    return signer.issue(names or (URI,), usage, validity)


@dataclass(frozen=True)
class ServerFiles:
    """The files a server reads."""

    directory: Path

    def put(self, pair: KeyPair | None = None, client_ca: bytes | None = None) -> None:
        """Write what is given, each file moved into its place."""
        if pair is not None:
            self.put_bytes("tls.key", pair.private_key)
            self.put_bytes("tls.pem", pair.certificate)
        if client_ca is not None:
            self.put_bytes("ca.pem", client_ca)

    def put_bytes(self, name: str, content: bytes) -> None:
        draft = self.directory / f"{name}.new"
        draft.touch(mode=0o600)
        draft.write_bytes(content)
        draft.replace(self.directory / name)

    def options(
        self, *peer_sans: str, is_mutual: bool = True, method_sans: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ) -> HostOptions:
        tls = TlsOptions(
            str(self.directory / "tls.pem"),
            str(self.directory / "tls.key"),
            str(self.directory / "ca.pem") if is_mutual else None,
            (peer_sans or (URI,)) if is_mutual else (),
            method_sans,
        )
        return HostOptions(ListenAddress.parse("127.0.0.1:0"), OPTIONS.admin, lame_duck_seconds=0.2, tls=tls)


@dataclass(frozen=True)
class Caller:
    """Who calls, and whom it believes."""

    trusted: bytes
    pair: KeyPair | None = None

    def channel(self, address: str, name: str = "") -> grpc.aio.Channel:
        """Return a channel with a connection of its own; `name`: of the server, where its address tells none."""
        pair = (None, None) if self.pair is None else (self.pair.private_key, self.pair.certificate)
        credentials = grpc.ssl_channel_credentials(self.trusted, *pair)
        options = [("grpc.use_local_subchannel_pool", 1), *([("grpc.ssl_target_name_override", name)] if name else [])]
        return grpc.aio.secure_channel(address, credentials, options=options)

    async def echo(self, address: str, message: bytes = b"ping") -> bytes:
        return await self.call(address, PACKAGE + "Echo", message)

    async def call(self, address: str, path: str, message: bytes) -> bytes:
        async with self.channel(address) as channel:
            return await channel.unary_unary(path)(message, timeout=10.0)
