"""Hands certificates to the hosting Envoy as files of its secret discovery, which it takes up without a restart.

Written by `envoy_host` before Envoy starts and by `asgi_host` when the files of the operator have changed. Envoy
could watch those itself, but it would take whatever it finds there; here it only ever sees what fits together.
The copy of the key lies in the supervisor's private directory and goes with it.
Source: envoy/extensions/transport_sockets/tls/v3/secret.proto.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, Final

from chassis.tls_files import TlsMaterial

CERTIFICATE: Final = "certificate"
CLIENT_CA: Final = "client_ca"

_SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type


def secret_path(runtime_dir: Path, name: str) -> Path:
    """Return the file from which Envoy reads one secret."""
    return runtime_dir / f"{name}.json"


def write_secrets(runtime_dir: Path, material: TlsMaterial) -> None:
    """Put the material where Envoy looks for it; raises OSError."""
    # First whom to believe: a caller that rotates with us must not be refused by what is about to go.
    if material.client_ca is not None:
        _write(runtime_dir, CLIENT_CA, {"validation_context": {"trusted_ca": _inline(material.client_ca)}})
    pair = {"certificate_chain": _inline(material.certificate), "private_key": _inline(material.private_key)}
    _write(runtime_dir, CERTIFICATE, {"tls_certificate": pair})


def _inline(pem: bytes) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode(pem).decode()}


def _write(runtime_dir: Path, name: str, secret: dict[str, Any]) -> None:
    path = secret_path(runtime_dir, name)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    text = json.dumps({"resources": [{"@type": _SECRET_TYPE, "name": name, **secret}]})
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
    # Envoy watches for a file that is moved there, and so never reads half of one.
    draft.replace(path)
