"""Sender-constrained tokens: what providers.yaml and routes.yaml say about them together."""

from __future__ import annotations

from policy.checks.common import check_unique
from policy.diagnostics import quote
from policy.names import PROVIDERS_FILE, ROUTES_FILE
from policy.parts import Parts
from policy.schema.providers import ProvidersFile
from policy.schema.routes import RoutesFile


def check_binding(parts: Parts) -> None:
    """Add every problem of token binding."""
    providers, routes = parts.find_sound(ProvidersFile), parts.find(RoutesFile)
    if providers is None:
        return
    _check_source(parts, providers)
    for index, provider in enumerate(providers.providers):
        if provider.dpop is not None:
            path = ("providers", index, "dpop")
            check_unique(parts, PROVIDERS_FILE, (*path, "algorithms"), ("", provider.dpop.algorithms))
            if provider.dpop.replay == "unchecked" and routes is not None:
                _check_replay(parts, (*path, "replay"), routes)
    if routes is not None and parts.find(ProvidersFile) is not None:
        _check_demands(parts, providers, routes)


def _check_source(parts: Parts, providers: ProvidersFile) -> None:
    known_from = providers.client_certificate
    if (known_from.source == "trusted_hop") == (known_from.trusted_hop is not None):
        return
    if known_from.trusted_hop is None:
        message = "source: trusted_hop needs trusted_hop, the name in the certificate of that proxy"
        parts.add(PROVIDERS_FILE, ("client_certificate", "source"), "P091", message)
    else:
        message = "trusted_hop means something with 'source: trusted_hop' only"
        parts.add(PROVIDERS_FILE, ("client_certificate", "trusted_hop"), "P091", message)


def _check_replay(parts: Parts, path: tuple[str | int, ...], routes: RoutesFile) -> None:
    open_to_it = [
        operation.operation
        for operation in routes.operations
        if operation.moves_money and operation.sender_constraint != "certificate"
    ]
    if open_to_it:
        message = f"{quote(open_to_it[0])} moves money: a caught proof could be sent again with another amount"
        parts.add(PROVIDERS_FILE, path, "P090", message)


def _check_demands(parts: Parts, providers: ProvidersFile, routes: RoutesFile) -> None:
    if any(provider.dpop is not None for provider in providers.providers):
        return
    for index, operation in enumerate(routes.operations):
        if operation.sender_constraint == "dpop":
            message = "no provider takes DPoP proofs, so no token could be used here"
            parts.add(ROUTES_FILE, ("operations", index, "sender_constraint"), "P092", message)
