"""extauthz that meets every access token for the first time.

h2load repeats one body, so the cache of verified claims is made to keep nothing: each request verifies
its token's signature and claims, stores the result, and evicts it, as at a full cache.
"""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

import extauthz.server
from chassis.asgi_host import AsgiHost
from chassis.listen import HostOptions
from chassis.logs import setup_logging
from chassis.service import Service
from chassis.settings import read_host_options
from extauthz.tokens.cache import ClaimsCache
from policy.settings import ServiceSettings, read_settings


def build(settings: ServiceSettings) -> Service:
    """Build the service as it is, but for the cache."""
    with patch.object(extauthz.server, "ClaimsCache", partial(ClaimsCache, max_bytes=0)):
        return extauthz.server.build(settings)


def _make() -> tuple[Service, HostOptions]:
    settings = read_settings()
    setup_logging(extauthz.server.NAME, level=settings.log_level)
    return build(settings), read_host_options()


app = AsgiHost(_make)
