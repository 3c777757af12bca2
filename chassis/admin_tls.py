"""TLS of admin pages that other machines can reach: the service's own certificate, followed as the service follows it.

Built by `host.ServiceHost`. Callers show no certificate here; the admin token says who may read. A service that has
further pages of its own, with files of their own, takes the same context for them.
"""

from __future__ import annotations

import logging
import ssl

from chassis.tls import TlsOptions
from chassis.tls_files import TlsMaterial, TlsWatch

log = logging.getLogger(__name__)


def admin_context(options: TlsOptions, watch: TlsWatch) -> ssl.SSLContext:
    """Return a server context that takes a renewed certificate for connections made after it."""
    context = _empty_context()

    def take(_: TlsMaterial) -> None:
        files = options.certificate_file, options.private_key_file
        try:
            # Into another one first: the files may have changed since they were found to fit together, and half of a
            # failed load would stay in the context that serves.
            _empty_context().load_cert_chain(*files)
            context.load_cert_chain(*files)
        except OSError as error:  # ssl.SSLError is one
            log.error("admin_tls_kept: the renewed certificate was not taken (%s)", type(error).__name__)

    watch.subscribe(take)
    return context


def _empty_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
