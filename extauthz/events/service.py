"""The events listener as a part of the service: what the settings say, and what an operator should know of it.

Its law: a listener that was asked for and cannot be is no start; nobody would hear logouts, and nobody would know.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from chassis.admin_access import AdminToken
from chassis.admin_tls import admin_context
from chassis.listen import ListenAddress
from chassis.secret_file import SecretInvalid, exposure_warnings
from chassis.service import StartRefused
from chassis.tls import TlsOptions
from chassis.tls_files import TlsInvalid, TlsWatch
from extauthz.events.listener import EventListener
from extauthz.events.pages import EventMeans
from extauthz.events.reader import EventReader
from policy.settings import ServiceSettings

log = logging.getLogger("extauthz.events")


class EventService:
    """Runs the listener, where the operator gave an address for it.

    Args:
        settings: Address, certificate and token file.
        reader: Returns the reader of the policy set in force; None where it takes no events.
        means: What the pages work with; None where nothing can be written, so that a listener is refused.
    """

    def __init__(
        self, settings: ServiceSettings, reader: Callable[[], EventReader | None], means: EventMeans | None
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._means = means
        self._listener: EventListener | None = None
        self._watch: TlsWatch | None = None

    @property
    def port(self) -> int:
        """Return the port that was bound, 0 for none."""
        return 0 if self._listener is None else self._listener.port

    async def start(self) -> None:
        """Serve; raises StartRefused when the listener cannot be as the settings say."""
        if not self._settings.events:
            return
        if self._means is None:
            raise StartRefused(("--events needs --store: what events end is written there, for all replicas",))
        try:
            address = ListenAddress.parse(self._settings.events)
            if self._means.push_token is not None:
                self._means.push_token.read()
            self._listener = EventListener(address, self._open_tls(), self._means)
            await self._listener.start()
        except (ValueError, TlsInvalid) as error:
            raise StartRefused((f"--events: {error}",)) from None
        except SecretInvalid as error:
            raise StartRefused(error.problems) from None
        except OSError as error:
            raise StartRefused((f"--events {address} cannot be bound: {error.strerror}",)) from error
        if self._watch is not None:
            await self._watch.start()
        log.info("events on %s", address.with_port(self.port))

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._watch is not None:
            await self._watch.stop()
        if self._listener is not None:
            await self._listener.stop()

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know although the service is ready."""
        is_read = self._reader() is not None
        if not self._settings.events:
            text = "providers have events, and this replica has no --events: another one has to take them"
            return (text,) if is_read else ()
        found = [] if is_read else ["--events is set, and no provider of the policy set has events"]
        if self._watch is not None:
            found.extend(f"events: {text}" for text in self._watch.warnings())
        return (*found, *self._token_warnings())

    def _token_warnings(self) -> tuple[str, ...]:
        token = None if self._means is None else self._means.push_token
        return () if token is None else token_warnings(token)

    def _open_tls(self) -> ssl.SSLContext | None:
        settings = self._settings
        if not settings.events_tls_cert or self._means is None:
            return None
        options = TlsOptions(settings.events_tls_cert, settings.events_tls_key)
        self._watch = TlsWatch(options, self._means.clock)
        self._means.metrics.follow_certificate(self._watch.seconds_left)
        return admin_context(options, self._watch)


def token_warnings(token: AdminToken) -> tuple[str, ...]:
    """Return what an operator should know about the token file of senders; it may have changed since the start."""
    try:
        token.read()
    except SecretInvalid as error:
        return tuple(f"no security event is taken: {problem}" for problem in error.problems)
    return exposure_warnings(token.path)
