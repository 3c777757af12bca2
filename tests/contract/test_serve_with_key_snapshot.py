"""A process of extauthz that starts while its token issuer is away lets payments pass with `--jwks-snapshot`."""

from __future__ import annotations

import pytest

from helpers.extauthz_process import reason, serving
from helpers.issuer import IssuerServer, SigningKey
from helpers.services import copy_policies
from helpers.transport_rig import TRANSPORTS, can_run

KEY = SigningKey("ES256", kid="k1")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_process_that_starts_without_its_issuer_lets_payments_pass(transport, tmp_path):
    if not can_run(transport):
        pytest.skip("no shared libpython")
    kept = tmp_path / "keys"
    kept.mkdir(mode=0o700)
    async with IssuerServer(keys=[KEY]) as issuer:
        copy_policies(tmp_path / "policies", issuer.issuer)
        async with serving(transport, tmp_path, "--jwks-snapshot", str(kept)):
            assert await reason(tmp_path, issuer.issuer, KEY) == "allow"
    assert len(list(kept.iterdir())) == 1
    async with serving(transport, tmp_path, "--jwks-snapshot", str(kept)) as output:
        assert await reason(tmp_path, issuer.issuer, KEY) == "allow"
        assert "token_keys_restored" in output.read_text()
    async with serving(transport, tmp_path):
        assert await reason(tmp_path, issuer.issuer, KEY) == "token_issuer_unavailable"
