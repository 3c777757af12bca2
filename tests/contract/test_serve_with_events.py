"""A process of extauthz, on either transport, takes a logout over HTTPS and refuses the tokens that it ended."""

from __future__ import annotations

import ssl
import time

import aiohttp
import pytest

from extauthz.events.pages import LOGOUT_PATH
from helpers.certificates import ServerFiles, authority, server_pair
from helpers.events import LOGOUT, RECEIVER, minted_event
from helpers.extauthz_process import reason, serving
from helpers.issuer import IssuerServer, SigningKey
from helpers.life_fleet import free_ports
from helpers.services import copy_policies, edit
from helpers.transport_rig import TRANSPORTS, can_run
from helpers.waiting import until_told

KEY = SigningKey("ES256", kid="k1")
EVENTS = f"events: {{audiences: ['{RECEIVER}'], transports: [logout]}}"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_logout_is_taken_beside_the_calls(transport, tmp_path):
    if not can_run(transport):
        pytest.skip("no shared libpython")
    signer, files, (port,) = authority(), ServerFiles(tmp_path), free_ports(1)
    files.put(server_pair(signer))
    trusting = ssl.create_default_context(cadata=signer.certificate.decode())
    async with IssuerServer(keys=[KEY]) as issuer:
        providers = copy_policies(tmp_path / "policies", issuer.issuer) / "providers.yaml"
        edit(providers, "    leeway_seconds: 30", f"    {EVENTS}\n    leeway_seconds: 30")
        providers.write_text(f"{providers.read_text()}revocation: {{}}\n")
        options = ("--events-tls-cert", str(tmp_path / "tls.pem"), "--events-tls-key", str(tmp_path / "tls.key"))
        async with (
            serving(transport, tmp_path, "--store", "memory:", "--events", f"127.0.0.1:{port}", *options) as output,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as client,
        ):

            async def is_allowed():
                return await reason(tmp_path, issuer.issuer, KEY, sid="s-1") == "allow"

            await until_told(is_allowed)
            now = int(time.time())
            claims = {"iss": issuer.issuer, "iat": now, "exp": now + 120, "sid": "s-1", "events": LOGOUT}
            token = minted_event("logout+jwt", KEY, **claims)
            url = f"https://127.0.0.1:{port}{LOGOUT_PATH}"
            async with client.post(url, data={"logout_token": token}) as answer:
                assert answer.status == 200
            assert await reason(tmp_path, issuer.issuer, KEY, sid="s-1") == "token_revoked"
            assert await reason(tmp_path, issuer.issuer, KEY, sid="s-2") == "allow"
            assert "event_taken" in output.read_text()
            assert token not in output.read_text()
