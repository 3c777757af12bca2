"""providers.yaml and routes.yaml: whom the gate asks about tokens, and when."""

from __future__ import annotations

from itertools import combinations

from policy.diagnostics import quote
from policy.names import PROVIDERS_FILE, ROUTES_FILE
from policy.parts import Parts
from policy.schema.providers import ProvidersFile
from policy.schema.routes import Operation, RoutesFile


def check_introspection(parts: Parts) -> None:
    """Add every problem of introspection."""
    providers = parts.find_sound(ProvidersFile)
    if providers is not None:
        _check_opaque(parts, providers)
    routes, whole = parts.find_sound(RoutesFile), parts.find(ProvidersFile)
    if routes is not None:
        for index, operation in enumerate(routes.operations):
            _check_operation(parts, index, operation, whole)


def _check_opaque(parts: Parts, file: ProvidersFile) -> None:
    """Of two prefixes the longer one goes first, so only equal ones leave it open whose a token is."""
    found: list[tuple[int, str]] = []
    for index, provider in enumerate(file.providers):
        policy = provider.introspection
        if policy is None:
            continue
        path = ("providers", index, "introspection")
        if policy.token_prefix is not None and not policy.opaque_tokens:
            parts.add(PROVIDERS_FILE, (*path, "token_prefix"), "P098", "token_prefix belongs to opaque_tokens: true")
        if policy.token_prefix is not None and policy.token_prefix[:3] == "eyJ"[: len(policy.token_prefix)]:
            message = "JWTs begin like this, so tokens of other issuers would be shown to this one"
            parts.add(PROVIDERS_FILE, (*path, "token_prefix"), "P098", message)
        if policy.opaque_tokens:
            found.append((index, policy.token_prefix or ""))
    for (_, first), (index, second) in combinations(found, 2):
        if first == second:
            message = "another provider's opaque tokens look the same; give each its token_prefix"
            parts.add(PROVIDERS_FILE, ("providers", index, "introspection"), "P098", message)


def _check_operation(parts: Parts, index: int, operation: Operation, providers: ProvidersFile | None) -> None:
    policy = operation.introspect
    if policy is None:
        return
    path = ("operations", index, "introspect")
    has_amount = policy.amount is not None and policy.currency is not None
    if policy.when == "above" and not (has_amount and operation.moves_money):
        parts.add(ROUTES_FILE, path, "P098", "above needs amount and currency, and an operation that moves money")
    if policy.when == "always" and (policy.amount is not None or policy.currency is not None):
        parts.add(ROUTES_FILE, path, "P098", "always has no amount and no currency")
    if providers is None:
        return
    mute = [provider.id for provider in providers.providers if provider.introspection is None]
    if len(mute) == len(providers.providers):
        parts.add(ROUTES_FILE, path, "P098", "no provider has 'introspection', so every such request would be refused")
    elif mute:
        message = f"tokens of {', '.join(map(quote, mute[:5]))} cannot be asked about: such requests are refused"
        parts.add(ROUTES_FILE, path, "P098", message, "warning")
