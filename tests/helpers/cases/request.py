"""One HTTP request of a case, and the CheckRequest bytes that Envoy would make of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from protos import envoy_wire_pb2 as wire

Form = Literal["headers", "header_map"]
FORMS: tuple[Form, ...] = ("headers", "header_map")
HOST = "pay.example.test"
PATH_OF_SIGNED = "/v1/signed-payments"
_STREAM_IDS = count(7_000_000_000)
PAYMENT = {"merchant_id": "m_100", "amount": 12350, "currency": "EUR"}


@dataclass(frozen=True, slots=True)
class Request:
    """What the client sent, and what Envoy knows about the connection.

    Attributes:
        headers: In the order of sending; a name may stand twice.
        body: Bytes as sent.
        size: What Envoy says the body's length was; the body's own when None.
        peer_ip: Address of the client; the replay gives each case its own where this is empty.
        timeout: Seconds that Envoy waits for the answer.
        is_bare: There is no HTTP part at all.
        certificate: Of the client's connection, as URL-encoded PEM.
        principal: First name in that certificate.
    """

    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"
    path: str = "/v1/payments"
    host: str = HOST
    body: bytes = json.dumps(PAYMENT).encode()
    size: int | None = None
    peer_ip: str = ""
    timeout: float = 5.0
    is_bare: bool = False
    certificate: str = ""
    principal: str = ""

    def with_headers(self, *pairs: tuple[str, str]) -> Request:
        """Return the request with more headers."""
        return replace(self, headers=(*self.headers, *pairs))

    def with_header(self, name: str, value: str) -> Request:
        """Return the request with one header in the place of those of that name."""
        rest = tuple(pair for pair in self.headers if pair[0].lower() != name)
        return replace(self, headers=(*rest, (name, value)))

    def to_bytes(self, form: Form) -> bytes:
        """Return the serialised CheckRequest, with the headers in one of Envoy's two encodings."""
        message = wire.CheckRequest()
        source = message.attributes.source
        source.address.socket_address.address = self.peer_ip
        source.certificate, source.principal = self.certificate, self.principal
        if self.is_bare:
            return message.SerializeToString()
        http = message.attributes.request.http
        http.method, http.path, http.host, http.scheme = self.method, self.path, self.host, "https"
        http.id = str(next(_STREAM_IDS))  # one request is told from its repetition by it
        http.raw_body = self.body
        http.size = len(self.body) if self.size is None else self.size
        for name, value in self.headers:
            if form == "header_map":
                http.header_map.headers.add(key=name.lower(), raw_value=value.encode("utf-8", "surrogateescape"))
            else:
                # Envoy joins what is repeated, and writes `!` for bytes that are no UTF-8.
                text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\ufffd", "!")
                known = http.headers.get(name.lower())
                http.headers[name.lower()] = text if known is None else f"{known},{text}"
        return message.SerializeToString()


def plain(**fields: Any) -> Request:
    """Return a payment request without credentials."""
    return Request(headers=(("content-type", "application/json"),), **fields)


def bearer(token: str, **fields: Any) -> Request:
    """Return a payment request with a token in its one place."""
    return plain(**fields).with_headers(("authorization", f"Bearer {token}"))


def payment(**members: Any) -> bytes:
    """Return a payment's body with other members."""
    return json.dumps({**PAYMENT, **members}).encode()
