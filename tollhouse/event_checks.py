"""What `tollhouse serve` refuses about the events listener before anything is started."""

from __future__ import annotations

from chassis.admin_access import AdminToken
from chassis.listen import ListenAddress
from chassis.secret_file import SecretInvalid
from policy.settings import ServiceSettings
from tollhouse import event_options as of

_OPTIONS = {
    of.EVENTS: "events",
    of.EVENTS_TLS_CERT: "events_tls_cert",
    of.EVENTS_TLS_KEY: "events_tls_key",
    of.EVENTS_PUSH_TOKEN_FILE: "events_push_token_file",
}


def check_event_settings(service: str, settings: ServiceSettings) -> None:
    """Refuse a listener that would be open to forgers, or that nobody would hear.

    Raises:
        ValueError: With a sentence that names the option.
    """
    given = [option.flag for option, name in _OPTIONS.items() if getattr(settings, name)]
    if given and service != "extauthz":
        raise ValueError(f"{given[0]} belongs to extauthz; ratelimit believes no token issuer")
    if given and not settings.events:
        raise ValueError(f"{given[0]} needs --events")
    if not settings.events:
        return
    if bool(settings.events_tls_cert) != bool(settings.events_tls_key):
        raise ValueError("--events-tls-cert and --events-tls-key are given together")
    _check_address(settings)
    if not settings.store:
        raise ValueError("--events needs --store: what events end is written there, for all replicas")
    if settings.events_push_token_file:
        _check_token(settings.events_push_token_file)


def _check_address(settings: ServiceSettings) -> None:
    address = ListenAddress.parse(settings.events)
    if address.unix_path is not None:
        raise ValueError("--events is HOST:PORT: a Unix socket hides the senders from each other")
    if not address.is_local and not settings.events_tls_cert:
        raise ValueError(
            f"--events {address} can be reached from other machines: on the way logouts could be held back unseen, and "
            "tokens of senders read; give --events-tls-cert and --events-tls-key"
        )


def _check_token(path: str) -> None:
    try:
        AdminToken(path).read()
    except SecretInvalid as error:
        raise ValueError(str(error)) from error
