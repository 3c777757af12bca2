"""routes.yaml: what an operation demands of a token means something, and can be compared with something."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from policy.attributes import MERCHANT_ID, attribute_catalogue
from policy.checks.common import check_known, check_pointer, check_step_up, check_unique
from policy.diagnostics import quote
from policy.names import ROUTES_FILE
from policy.parts import Parts
from policy.schema.providers import ProvidersFile
from policy.schema.routes import AuthorizationDetails, Operation, RoutesFile

_ISSUED_BY_THE_TOKENS_ISSUER: Final = ""


def check_grants(parts: Parts) -> None:
    """Add every problem of what routes.yaml asks of tokens."""
    file = parts.find_sound(RoutesFile)
    if file is None:
        return
    _check_resource(parts, file)
    for index, operation in enumerate(file.operations):
        path = ("operations", index)
        if not operation.scopes and operation.authorization_details is None:
            message = "an operation demands a scope or authorization_details; else any token would do"
            parts.add(ROUTES_FILE, (*path, "scopes"), "P057", message)
        for position, pointer in enumerate(operation.merchant.other_claims):
            check_pointer(parts, ROUTES_FILE, (*path, "merchant", "other_claims", position), pointer)
        _check_picked(parts, index, operation)
        if operation.step_up is not None:
            check_step_up(parts, ROUTES_FILE, (*path, "step_up"), operation.step_up)
        _check_actors(parts, index, operation)
        if operation.authorization_details is not None:
            _check_details(parts, index, operation.authorization_details)
            _check_compared(parts, index, operation, operation.authorization_details)


def _check_picked(parts: Parts, index: int, operation: Operation) -> None:
    """Where the body picks the merchant, something must read it from the body."""
    if operation.merchant.several != "body_picks":
        return
    profiles = {profile.profile: profile for profile in parts.profiles().values()}
    profile = profiles.get(operation.profile or "")
    if operation.profile is None or (profile is not None and MERCHANT_ID not in profile.attributes):
        message = f"the body picks the merchant, but no profile says where {MERCHANT_ID} stands"
        parts.add(ROUTES_FILE, ("operations", index, "merchant", "several"), "P058", message)


def _check_actors(parts: Parts, index: int, operation: Operation) -> None:
    if operation.actor is None:
        return
    names = [f"{actor.issuer or _ISSUED_BY_THE_TOKENS_ISSUER} {actor.sub}" for actor in operation.actor.allow]
    for position, name in enumerate(names):
        if name in names[:position]:
            message = f"actor {quote(operation.actor.allow[position].sub)} stands twice"
            parts.add(ROUTES_FILE, ("operations", index, "actor", "allow", position, "sub"), "P040", message)
    providers = parts.find(ProvidersFile)
    if providers is None or len(providers.providers) == 1:
        return
    for position, actor in enumerate(operation.actor.allow):
        if actor.issuer is None:
            message = f"with several providers, actor {quote(actor.sub)} needs 'issuer'"
            parts.add(ROUTES_FILE, ("operations", index, "actor", "allow", position, "sub"), "P065", message)


def _check_details(parts: Parts, index: int, details: AuthorizationDetails) -> None:
    path = ("operations", index, "authorization_details")
    check_unique(parts, ROUTES_FILE, (*path, "actions"), ("", details.actions))
    check_unique(parts, ROUTES_FILE, (*path, "locations"), ("", details.locations))
    check_pointer(parts, ROUTES_FILE, (*path, "amount"), details.amount)
    check_pointer(parts, ROUTES_FILE, (*path, "currency"), details.currency)
    for name, pointer in details.creditor.items():
        check_pointer(parts, ROUTES_FILE, (*path, "creditor", name), pointer)


def _check_compared(parts: Parts, index: int, operation: Operation, details: AuthorizationDetails) -> None:
    path = ("operations", index, "authorization_details")
    if not operation.moves_money:
        message = "authorization_details are compared with a payment; this operation moves no money"
        parts.add_at_key(ROUTES_FILE, path, "P058", message)
        return
    settable = [name for name, attribute in attribute_catalogue().items() if attribute.is_from_body]
    profiles = {profile.profile: profile for profile in parts.profiles().values()}
    profile = profiles.get(operation.profile or "")
    for name in details.creditor:
        is_known = check_known(parts, ROUTES_FILE, (*path, "creditor", name), ("attribute", name, settable))
        if is_known and profile is not None and name not in profile.attributes:
            message = f"profile {quote(profile.profile)} does not say where {name} stands"
            parts.add_at_key(ROUTES_FILE, (*path, "creditor", name), "P058", message)


def _check_resource(parts: Parts, file: RoutesFile) -> None:
    providers = parts.find(ProvidersFile)
    if file.resource is None:
        return
    path, identifier = ("resource", "identifier"), file.resource.identifier
    split = urlsplit(identifier)
    if split.scheme != "https" or not split.netloc or "@" in split.netloc or split.path:
        message = "the identifier is https:// and a host, without path (RFC 9728 section 1.2)"
        parts.add(ROUTES_FILE, path, "P062", message)
    elif providers is not None and not any(identifier in provider.audiences for provider in providers.providers):
        message = f"{quote(identifier)} is no audience of providers.yaml, so a token for it would be refused"
        parts.add(ROUTES_FILE, path, "P063", message, "warning")
