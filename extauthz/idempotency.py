"""Idempotency keys: whether one is there, and what makes a repeat of a request the same payment for the quotas.

Its law: two requests that the upstream may carry out one after the other are never one payment here. So the identity
takes in more than the key, and the key as it was sent: what the upstream tells apart is told apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import http_sf

from extauthz.model import AuthzRequest, Deny, Principal
from extauthz.reasons import Reason
from policy.card_keys import CardKeyring, CardSecret
from policy.handoff import PaymentIdentity
from policy.schema.routes import Operation

# A bare key holds no comma: Envoy joins repeated headers with one, and of two keys the upstream may take either.
_BARE: Final = re.compile(r"[A-Za-z0-9_.:~+/=@!-]+\Z")


@dataclass(frozen=True, slots=True)
class IdempotencyRule:
    """What one operation says about idempotency keys.

    Attributes:
        operation: Name from routes.yaml.
        header: Name in small letters.
        is_required: A request without a key is refused.
        max_length: Most characters of the header.
        secret: Hashes the identity; None where the upstream is not trusted to take a payment only once.
    """

    operation: str
    header: str
    is_required: bool
    max_length: int
    secret: CardSecret | None = None

    @classmethod
    def compile(cls, operation: Operation, keyring: CardKeyring | None) -> IdempotencyRule | None:
        """Return the rule of an operation, or None; raises ValueError where the keyring for it is missing."""
        section = operation.idempotency
        if section is None:
            return None
        secret = None
        if section.mode == "upstream_enforced":
            if keyring is None:
                raise ValueError("payments are told apart by keyed hashes, and there is no key to hash with")
            # The older key as long as it is there: every replica has it, so until it is dropped a rotation parts no
            # repeat from its payment.
            secret = keyring.secrets[-1]
        return cls(operation.operation, section.header, section.mode != "optional", section.max_length, secret)

    def refusal(self, request: AuthzRequest) -> Deny | None:
        """Refuse a request without a key that must have one, or with one that can be read in two ways."""
        text = request.headers.get(self.header)
        if text is None:
            return Deny(Reason.IDEMPOTENCY_MISSING) if self.is_required else None
        if len(text) > self.max_length or not (_BARE.match(text) or _is_quoted(text)):
            return Deny(Reason.IDEMPOTENCY_INVALID)
        if self.secret is not None and request.body_is_partial:
            return Deny(Reason.BODY_UNREADABLE, detail="the body was cut off")
        return None

    def identity(self, request: AuthzRequest, principal: Principal, merchant_id: str) -> PaymentIdentity | None:
        """Return what makes a repeat the same payment; None where nothing does.

        The digest is over the bytes as they were parsed, so a repeat in another spelling is another request; method,
        host and path with its query belong to it.
        """
        if self.secret is None:
            return None
        client = (principal.token_issuer, principal.client_id, principal.subject)
        key = self.secret.digest("idempotency", merchant_id, *client, self.operation, request.headers[self.header])
        digest = self.secret.digest("request", request.method, request.host, request.path, request.body)
        return PaymentIdentity(key, digest)


def _is_quoted(text: str) -> bool:
    """Tell whether `text` is one string (RFC 9651 section 3.3.3) without parameters, not empty."""
    if not text.startswith('"'):
        return False
    try:
        item: Any = http_sf.parse(text.encode("ascii"), tltype="item")
    except ValueError:
        return False
    value, parameters = item
    return isinstance(value, str) and bool(value) and not parameters
