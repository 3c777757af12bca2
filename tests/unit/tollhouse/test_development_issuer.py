import base64
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient

from helpers.clock import FakeClock
from tollhouse.issuer import AUDIENCE, CLIENT_SECRET, OTHER_AUDIENCE, make_issuer
from tollhouse.issuer_tokens import GATE_CLIENT

ISSUER = "http://127.0.0.1:18080"


@pytest.fixture
def client() -> FlaskClient:
    return make_issuer(ISSUER, FakeClock()).test_client()


def fetch(client: FlaskClient, **form: str) -> dict[str, Any]:
    wanted = {"grant_type": "client_credentials", "client_secret": CLIENT_SECRET, "client_id": "m_active", **form}
    return dict(client.post("/token", data=wanted).json or {})


def verified(client: FlaskClient, token: str, audience: str = AUDIENCE) -> dict[str, Any]:
    key = jwt.PyJWK((client.get("/jwks.json").json or {})["keys"][0])
    options = {"verify_exp": False, "verify_iat": False}
    return dict(jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=ISSUER, options=options))


def test_discovery_names_the_keys_and_the_token_endpoint(client: FlaskClient) -> None:
    document = client.get("/.well-known/openid-configuration").json or {}

    assert document["issuer"] == ISSUER
    assert document["jwks_uri"] == f"{ISSUER}/jwks.json"
    assert document["token_endpoint"] == f"{ISSUER}/token"


def test_published_key_has_no_private_part(client: FlaskClient) -> None:
    (key,) = (client.get("/jwks.json").json or {})["keys"]

    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_token_is_an_rfc_9068_access_token(client: FlaskClient) -> None:
    token = fetch(client)["access_token"]
    claims = verified(client, token)

    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert set(claims) == {"iss", "aud", "sub", "client_id", "iat", "exp", "jti", "scope", "merchant_id"}
    assert claims["merchant_id"] == claims["client_id"] == claims["sub"] == "m_active"
    assert claims["scope"] == "payments:write payments:read"
    assert claims["exp"] == claims["iat"] + 300


def test_asked_scopes_alone_are_granted(client: FlaskClient) -> None:
    claims = verified(client, fetch(client, scope="payments:read")["access_token"])

    assert claims["scope"] == "payments:read"


def test_expired_client_gets_a_token_that_was_good_once(client: FlaskClient) -> None:
    now = FakeClock().wall()
    claims = verified(client, fetch(client, client_id="m_active-expired")["access_token"])

    assert claims["iat"] < claims["exp"] < now


def test_other_audience_client_gets_a_token_for_the_other_audience(client: FlaskClient) -> None:
    token = fetch(client, client_id="m_active-other-audience")["access_token"]

    assert verified(client, token, OTHER_AUDIENCE)["merchant_id"] == "m_active"


def ask(client: FlaskClient, token: str, **form: str) -> tuple[int, dict[str, Any]]:
    who = {"client_id": GATE_CLIENT, "client_secret": CLIENT_SECRET, **form}
    answer = client.post("/introspect", data={"token": token, **who})
    return answer.status_code, dict(answer.json or {})


@pytest.mark.parametrize("name", ["m_active", "m_active-opaque"])
def test_gate_is_told_what_a_token_stands_for(client: FlaskClient, name: str) -> None:
    token = fetch(client, client_id=name)["access_token"]
    status, said = ask(client, token)

    assert (status, said["active"], said["token_type"]) == (200, True, "Bearer")
    assert (said["iss"], said["aud"], said["client_id"], said["merchant_id"]) == (ISSUER, AUDIENCE, name, "m_active")
    assert token.startswith("opaque_") is (name == "m_active-opaque")


def test_token_that_was_never_issued_or_is_over_is_inactive(client: FlaskClient) -> None:
    over = fetch(client, client_id="m_active-expired")["access_token"]

    assert ask(client, over) == ask(client, "another") == (200, {"active": False})


def test_nobody_but_the_gate_learns_anything(client: FlaskClient) -> None:
    token = fetch(client)["access_token"]

    assert ask(client, token, client_id="m_active") == (200, {"active": False})
    assert ask(client, token, client_secret="another")[0] == 401
    assert fetch(client, client_id=GATE_CLIENT)["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        pytest.param({"client_secret": "another"}, "invalid_client", id="wrong secret"),
        pytest.param({"client_id": "nobody"}, "invalid_client", id="unknown client"),
        pytest.param({"grant_type": "password"}, "unsupported_grant_type", id="another grant"),
    ],
)
def test_bad_request_gets_no_token(client: FlaskClient, form: dict[str, str], error: str) -> None:
    answer = fetch(client, **form)

    assert answer["error"] == error
    assert "access_token" not in answer


def test_secret_may_come_in_the_authorization_header(client: FlaskClient) -> None:
    basic = base64.b64encode(f"m_active:{CLIENT_SECRET}".encode()).decode()
    answer = client.post(
        "/token", data={"grant_type": "client_credentials"}, headers={"authorization": f"Basic {basic}"}
    )

    assert answer.status_code == 200
