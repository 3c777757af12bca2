"""What an introspection endpoint answered (RFC 7662 section 2.2, RFC 9701 section 5).

Whatever is not plainly a reply about a token is our fault or the issuer's, never the caller's: `ReplyInvalid`, from
which comes 503 and no verdict. A member that holds a token, as some issuers add, is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chassis.http_client import HttpReply
from chassis.strict_json import JsonLimits, StrictJsonError, parse_strict
from extauthz.model import Deny
from extauthz.tokens.claims import numeric_date
from extauthz.tokens.jose import CompactToken, parse_compact
from extauthz.tokens.providers import CompiledProvider
from extauthz.tokens.verify import canonical_algorithm

MAX_REPLY_BYTES: Final = 64 * 1024
MAX_REPLY_AGE_SECONDS: Final = 60
JSON_TYPE: Final = "application/json"
SIGNED_TYPE: Final = "application/token-introspection+jwt"
_SIGNED_TYP: Final = "token-introspection+jwt"
_LIMITS: Final = JsonLimits(max_bytes=MAX_REPLY_BYTES, max_depth=16)


class ReplyInvalid(Exception):  # noqa: N818 - says what happened
    """No usable reply; the message is a fixed text, never a part of the reply."""


def read_json_reply(reply: HttpReply) -> Mapping[str, Any]:
    """Return the members of an unsigned reply; raises ReplyInvalid."""
    _check_status(reply, JSON_TYPE)
    try:
        value = parse_strict(reply.body, _LIMITS)
    except StrictJsonError:
        raise ReplyInvalid("not JSON") from None
    return _members(value)


def read_signed_reply(reply: HttpReply) -> CompactToken:
    """Return a signed reply, not verified yet; raises ReplyInvalid."""
    _check_status(reply, SIGNED_TYPE)
    try:
        parsed = parse_compact(reply.body.decode("ascii").strip())
    except UnicodeDecodeError:
        raise ReplyInvalid("not a JWT") from None
    if isinstance(parsed, Deny) or parsed.token_type != _SIGNED_TYP:
        raise ReplyInvalid("not a JWT of a reply")
    return parsed


def check_signed_algorithm(parsed: CompactToken, provider: CompiledProvider) -> str:
    """Return the canonical algorithm, one of those accepted; raises ReplyInvalid."""
    algorithm = canonical_algorithm(parsed.algorithm)
    if algorithm not in provider.algorithms:
        raise ReplyInvalid("alg not accepted")
    return algorithm


def signed_members(parsed: CompactToken, provider: CompiledProvider, client_id: str, now: float) -> Mapping[str, Any]:
    """Return the members of a signed reply whose signature is verified (RFC 9701 section 5); raises ReplyInvalid."""
    claims = parsed.claims
    audience = claims.get("aud")
    is_for_us = audience == client_id or (isinstance(audience, list) and client_id in audience)
    if claims.get("iss") != provider.issuer or not is_for_us:
        raise ReplyInvalid("of another issuer, or for another client")
    issued_at = numeric_date(claims.get("iat"))
    oldest = now - MAX_REPLY_AGE_SECONDS - provider.leeway_seconds
    if issued_at is None or not oldest <= issued_at <= now + provider.leeway_seconds:
        raise ReplyInvalid("of another time")
    return _members(claims.get("token_introspection"))


def _check_status(reply: HttpReply, media_type: str) -> None:
    if reply.status != 200:
        # 401 is about our own credentials (RFC 7662 section 2.3): nothing is known of the token.
        raise ReplyInvalid(f"status {reply.status // 100}xx")
    said = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != media_type:
        raise ReplyInvalid("another content type")


def _members(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("active"), bool):
        raise ReplyInvalid("active is not a boolean")
    return value
