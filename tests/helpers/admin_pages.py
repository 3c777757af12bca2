"""A running host, of which a test wants the admin pages."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from chassis.host import ServiceHost
from chassis.listen import HostOptions, ListenAddress
from helpers.echo_service import EchoService

_LOCAL = ListenAddress.parse("127.0.0.1:0")
PLAIN = HostOptions(_LOCAL, _LOCAL)


@contextlib.asynccontextmanager
async def admin_pages(service: EchoService, options: HostOptions = PLAIN) -> AsyncIterator[int]:
    """Yield the port of the admin pages."""
    host = ServiceHost(service, options)
    await host.start()
    try:
        port = urlsplit(host.admin_url).port
        assert isinstance(port, int)
        yield port
    finally:
        await host.stop()
