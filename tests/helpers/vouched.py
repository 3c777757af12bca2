"""The sample policy set where Envoy verifies the tokens, and what goes with the shipped Envoy file of that kind."""

from __future__ import annotations

from pathlib import Path

from helpers.services import DEVELOPMENT_ISSUER, copy_policies, edit
from tollhouse.envoy_jwt_authn_file import PAYLOAD_KEY

_OF_KEYS = ("discovery:", "keys_stale_seconds:")


def vouched_policies(target: Path, more: str = "", issuer: str = DEVELOPMENT_ISSUER) -> Path:
    """Copy the sample set and leave the signatures of its one issuer to Envoy; `more` are lines of the provider."""
    policies = copy_policies(target, issuer)
    providers = policies / "providers.yaml"
    lines = providers.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.strip().startswith(_OF_KEYS)]
    providers.write_text("\n".join(kept) + "\n", "utf-8")
    envoy = f"    verified_by: envoy_jwt_authn\n    payload_in_metadata: {PAYLOAD_KEY}\n{more}"
    edit(providers, "    allow_http: true", f"{envoy}    allow_http: true")
    return policies
