"""Where clients find the metadata of this API (RFC 9728): one address, for challenges and for Envoy."""

from __future__ import annotations

from typing import Final

from policy.schema.routes import ProtectedResource

METADATA_PATH: Final = "/.well-known/oauth-protected-resource"
"""RFC 9728 section 3, for an identifier without path."""


def metadata_url(resource: ProtectedResource | None) -> str:
    """Return the address of the metadata document; empty where policy publishes none."""
    return "" if resource is None else resource.identifier + METADATA_PATH
