"""A token issuer for development: OIDC discovery, JWKS, the client_credentials grant and introspection.

Run as `python -m tollhouse.issuer PORT`, on loopback, or `python -m tollhouse.issuer PORT NAME CERTIFICATE KEY`, on
every address and with TLS, for a private network of containers. Its clients and their one secret are written below,
so a token of it proves nothing: it says so at start, and no policy set outside a developer's machine may name it.
Authlib does the OAuth part (RFC 6749 section 4.4, RFC 7662, RFC 9068).
"""

from __future__ import annotations

import hmac
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from authlib.common.security import generate_token
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, jsonify
from joserfc import jwt
from joserfc.jwk import ECKey
from werkzeug.serving import make_server

from chassis.clock import Clock, SystemClock
from tollhouse.issuer_tokens import GATE_CLIENT, Introspection, IssuedTokens

DEFAULT_PORT: Final = 18080
CLIENT_SECRET: Final = "development-only"  # noqa: S105 - worthless by design, see the module's text
AUDIENCE: Final = "https://payments.tollhouse.test"
OTHER_AUDIENCE: Final = "https://reports.tollhouse.test"
OPAQUE_PREFIX: Final = "opaque_"
SCOPES: Final = ("payments:write", "payments:read")
_ALGORITHM: Final = "ES256"
_LIFETIME_SECONDS: Final = 300
_AUTH_METHODS: Final = ["client_secret_basic", "client_secret_post"]
_WARNING: Final = "DEVELOPMENT ONLY: this issuer gives a token to everyone; never trust it outside this machine."


@dataclass(frozen=True, slots=True)
class DevelopmentClient(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """One OAuth client.

    Attributes:
        client_id: Its id, which is also the `sub` of its tokens.
        merchant_id: Claim of every token.
        audience: `aud` of every token.
        issued_seconds_ago: Ages its tokens, so that they can be expired when they come.
        is_opaque: Its tokens are random text; only introspection tells what they stand for.
    """

    client_id: str
    merchant_id: str
    audience: str = AUDIENCE
    issued_seconds_ago: int = 0
    is_opaque: bool = False

    def get_client_id(self) -> str:
        """Return the client's id."""
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        """Return the scopes granted for a request; all of them when none is asked for."""
        asked = SCOPES if scope is None else tuple(scope.split())
        return " ".join(name for name in asked if name in SCOPES)

    def check_client_secret(self, client_secret: str) -> bool:
        """Tell whether the secret is the one that all development clients share."""
        return hmac.compare_digest(client_secret.encode(), CLIENT_SECRET.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Allow the two ways of RFC 6749 section 2.3.1."""
        return endpoint in ("token", "introspection") and method in _AUTH_METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        """Allow client_credentials alone, and no token at all to the client that asks about tokens."""
        return grant_type == "client_credentials" and self.client_id != GATE_CLIENT


def _clients() -> Mapping[str, DevelopmentClient]:
    """Return one client for each sample merchant, two whose tokens must be refused, and what opaque tokens need."""
    merchants = ("m_active", "m_small", "m_rate", "m_daily", "m_single", "m_suspended", "m_ghost")
    clients = [DevelopmentClient(merchant, merchant) for merchant in merchants]
    clients.append(DevelopmentClient("m_active-expired", "m_active", issued_seconds_ago=3600))
    clients.append(DevelopmentClient("m_active-other-audience", "m_active", audience=OTHER_AUDIENCE))
    clients.append(DevelopmentClient("m_active-opaque", "m_active", is_opaque=True))
    clients.append(DevelopmentClient(GATE_CLIENT, ""))
    return {client.client_id: client for client in clients}


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib has no types
    """The grant, with both ways to present the secret."""

    TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS


class _TokenGenerator(JWTBearerTokenGenerator):  # type: ignore[misc]  # Authlib has no types
    """Write access tokens as RFC 9068 says."""

    def __init__(self, issuer: str, key: ECKey, clock: Clock, issued: IssuedTokens) -> None:
        super().__init__(issuer, alg=_ALGORITHM, expires_generator=lambda _client, _grant_type: _LIFETIME_SECONDS)
        self._key = key
        self._clock = clock
        self._issued = issued

    def access_token_generator(self, client: DevelopmentClient, **about: object) -> str:
        """Return a token and remember it; an opaque one stands for the claims that the JWT would have had."""
        text = super().access_token_generator(client=client, **about)
        claims = jwt.decode(text, self._key, algorithms=[_ALGORITHM]).claims
        if client.is_opaque:
            text = OPAQUE_PREFIX + generate_token(43)
        self._issued.keep(text, claims)
        return str(text)

    def get_jwks(self) -> ECKey:
        """Return the key that signs."""
        return self._key

    def get_audiences(self, client: DevelopmentClient, _user: object, _scope: str) -> str:
        """Return the client's audience."""
        return client.audience

    def get_extra_claims(self, client: DevelopmentClient, *_: object) -> dict[str, str | int]:
        """Return the claim that binds a token to its merchant, and when it was issued."""
        issued_at = int(self._clock.wall()) - client.issued_seconds_ago
        return {"merchant_id": client.merchant_id, "iat": issued_at, "exp": issued_at + _LIFETIME_SECONDS}


def make_issuer(issuer: str, clock: Clock, issued: IssuedTokens | None = None) -> Flask:
    """Build the application with a fresh key.

    Args:
        issuer: Its own URL without a trailing slash; `iss` of every token.
        clock: Dates the tokens.
        issued: Remembers the tokens; one of its own when left out.
    """
    app = Flask(__name__)
    issued = IssuedTokens(clock) if issued is None else issued
    key = ECKey.generate_key("P-256", parameters={"use": "sig", "alg": _ALGORITHM}, auto_kid=True)
    clients = _clients()
    server = AuthorizationServer(app, query_client=clients.get, save_token=lambda _token, _request: None)
    server.register_token_generator("default", _TokenGenerator(issuer, key, clock, issued))
    server.register_grant(_Grant)
    server.register_endpoint(Introspection(issued))

    documents = {
        "/jwks.json": {"keys": [key.as_dict(private=False)]},
        "/.well-known/openid-configuration": _metadata(issuer),
        "/.well-known/oauth-authorization-server": _metadata(issuer),
        "/": {"warning": _WARNING, "clients": list(clients)},
    }
    for path, document in documents.items():
        app.add_url_rule(path, path, partial(jsonify, document))
    app.add_url_rule("/token", "/token", server.create_token_response, methods=["POST"])
    answer = partial(server.create_endpoint_response, Introspection.ENDPOINT_NAME)
    app.add_url_rule("/introspect", "/introspect", answer, methods=["POST"])
    return app


def _metadata(issuer: str) -> dict[str, Any]:
    """Describe the issuer (OpenID Connect Discovery section 3, RFC 8414 section 2)."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": _AUTH_METHODS,
        "jwks_uri": f"{issuer}/jwks.json",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": _AUTH_METHODS,
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [_ALGORITHM],
        "scopes_supported": list(SCOPES),
    }


def main(port: int, name: str = "", certificate: str = "", key: str = "") -> None:
    """Serve until the process is ended.

    Args:
        port: TCP port.
        name: The host name by which others reach it, with TLS; empty: on loopback, without.
        certificate: PEM file, for `name`.
        key: PEM file of the certificate's private key.
    """
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # left unset, it would log every request
    url = f"https://{name}:{port}" if name else f"http://127.0.0.1:{port}"
    # Off loopback only with TLS: a token issuer whose keys can be exchanged on the way is nobody's issuer.
    host, tls = ("0.0.0.0", (certificate, key)) if name else ("127.0.0.1", None)  # noqa: S104
    server = make_server(host, port, make_issuer(url, SystemClock()), threaded=True, ssl_context=tls)
    print(f"{_WARNING}\ntoken issuer serving on {url}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PORT, *sys.argv[2:5])
