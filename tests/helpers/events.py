"""Events of a real issuer on loopback, minted by a second JOSE library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwk, jwt

from extauthz.events.reader import EventReader, EventSource
from extauthz.events.subjects import Ends
from helpers.issuer import NOW, SigningKey
from helpers.token_rig import TokenRig, token_rig

RECEIVER = "https://gate.example.test/events"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
LOGOUT = {"http://schemas.openid.net/event/backchannel-logout": {}}
KEY = SigningKey("ES256")
BOTH_WAYS = frozenset({"logout", "push"})
_PEM = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()


@asynccontextmanager
async def reading(
    ends: Ends = "sid", transports: frozenset[str] = BOTH_WAYS
) -> AsyncIterator[tuple[TokenRig, EventReader]]:
    """Run an issuer and a reader that takes its events."""
    async with token_rig(KEY, algorithms=("ES256",)) as rig:
        source = EventSource(rig.gate.providers[0], frozenset({RECEIVER}), transports, ends)
        yield rig, EventReader((source,), rig.keys, rig.clock)


def event_token(rig: TokenRig, typ: str, key: SigningKey = KEY, **claims: Any) -> str:
    """Return a token minted by joserfc; a claim of None is left out."""
    return minted_event(typ, key, **{"iss": rig.server.issuer, "iat": NOW, **claims})


def minted_event(typ: str, key: SigningKey, **claims: Any) -> str:
    """Return a token of any issuer; a claim of None is left out."""
    common = {"aud": RECEIVER, "jti": "event-1"}
    members = {name: value for name, value in {**common, **claims}.items() if value is not None}
    private = jwk.import_key(key.private.private_bytes(*_PEM), "EC")
    return jwt.encode({"alg": "ES256", "kid": key.kid, "typ": typ}, members, private, algorithms=["ES256"])


def logout_token(rig: TokenRig, typ: str = "logout+jwt", key: SigningKey = KEY, **claims: Any) -> str:
    return event_token(rig, typ, key, **{"exp": NOW + 120, "events": LOGOUT, "sub": "user-1", **claims})


def security_event(rig: TokenRig, name: str = f"{CAEP}session-revoked", **claims: Any) -> str:
    subject = {"format": "iss_sub", "iss": rig.server.issuer, "sub": "user-1"}
    return event_token(rig, "secevent+jwt", **{"events": {name: {}}, "sub_id": subject, **claims})
