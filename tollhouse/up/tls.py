"""Certificates of the local stack: Envoy and the two services prove to each other who they are, on loopback too."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

from tollhouse.dev_secrets import ENVOY_IDENTITY, Readers, SecretsRefused, write_dev_secrets
from tollhouse.envoy_tls_file import CERTIFICATES_DIRECTORY
from tollhouse.up.envoy_config import REFERENCE
from tollhouse.up.failure import UpFailed

_SECRET_FILES: Final = REFERENCE.parent / "sds"


class LocalTls:
    """Development secrets of one run, and the files by which Envoy finds them.

    Attributes:
        certificates: Directory of `tollhouse dev-secrets`.
        secrets: Directory of the files of envoy/sds/, which name those.
    """

    def __init__(self, directory: Path) -> None:
        self.certificates = directory.absolute() / "tls"
        self.secrets = directory.absolute() / "sds"

    def lay_out(self) -> None:
        """Write everything; raises UpFailed."""
        try:
            write_dev_secrets(self.certificates, Readers(), is_forced=True, now=dt.datetime.now(dt.UTC))
        except SecretsRefused as error:
            raise UpFailed(str(error)) from error
        self.secrets.mkdir(exist_ok=True)
        for file in sorted(_SECRET_FILES.glob("*.yaml")):
            text = file.read_text("utf-8").replace(CERTIFICATES_DIRECTORY, str(self.certificates))
            (self.secrets / file.name).write_text(text, "utf-8")

    def serve_options(self, service: str) -> dict[str, str]:
        """Return the options of `tollhouse serve` for one service."""
        return {
            "--tls-cert": str(self.certificates / f"{service}.pem"),
            "--tls-key": str(self.certificates / f"{service}.key"),
            "--tls-client-ca": str(self.certificates / "ca.pem"),
            "--peer-san": ENVOY_IDENTITY,
        }
