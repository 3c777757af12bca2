"""providers.yaml: events of token issuers that would end nothing."""

from __future__ import annotations

from policy.checks.common import check_unique
from policy.names import PROVIDERS_FILE
from policy.parts import Parts
from policy.schema.providers import Provider, ProvidersFile

_NO_LIST = "what an event ends is kept in the list of revoked tokens, and 'revocation' is not set: nothing would look"
_NO_SID = "RFC 9068 gives access tokens no sid: a logout that names a session ends nothing unless this issuer adds it"


def check_events(parts: Parts, file: ProvidersFile) -> None:
    """Add every problem of the providers' events."""
    for index, provider in enumerate(file.providers):
        if provider.events is not None:
            _check(parts, index, provider, has_list=file.revocation is not None)


def _check(parts: Parts, index: int, provider: Provider, *, has_list: bool) -> None:
    path = ("providers", index, "events")
    if provider.events is None:
        return
    check_unique(parts, PROVIDERS_FILE, (*path, "audiences"), ("", provider.events.audiences))
    check_unique(parts, PROVIDERS_FILE, (*path, "transports"), ("", provider.events.transports))
    if not has_list:
        parts.add(PROVIDERS_FILE, path, "P096", _NO_LIST)
    if provider.events.logout_ends == "sid" and provider.profile == "rfc9068":
        parts.add(PROVIDERS_FILE, (*path, "logout_ends"), "P097", _NO_SID, "warning")
