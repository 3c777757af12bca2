"""What a reload loosened, one sentence each, so that the log shows every door that was opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policy.loader import PolicySet

_IDS_IN_A_LINE: Final = 100


def loosened(old: PolicySet, new: PolicySet) -> list[str]:
    """Compare two revisions and return what lets more through than before."""
    parts = (_rules, _operations, _bindings, _merchants, _providers, _attributes, _cards)
    return [sentence for part in parts for sentence in part(old, new)]


def _rules(old: PolicySet, new: PolicySet) -> Iterator[str]:
    now = {rule.id: rule for rule in new.risk.rules}
    for before in old.risk.rules:
        rule = now.get(before.id)
        if rule is None:
            yield f"risk rule {before.id} was removed"
        elif before.mode == "enforce" and rule.mode == "shadow":
            yield f"risk rule {before.id} went from enforce to shadow"
        elif before.action == "decline" and rule.action == "review":
            yield f"risk rule {before.id} went from decline to review"
        elif (before.when, before.operations, before.on_missing) != (rule.when, rule.operations, rule.on_missing):
            yield f"risk rule {before.id} has another condition; it may hit less"


def _operations(old: PolicySet, new: PolicySet) -> Iterator[str]:
    before = {operation.operation: operation for operation in old.routes.operations}
    for operation in new.routes.operations:
        known = before.get(operation.operation)
        if known is None:
            yield f"operation {operation.operation} was added"
            continue
        for scope in sorted(set(known.scopes) - set(operation.scopes)):
            yield f"operation {operation.operation} no longer needs scope {scope}"
        if known.moves_money and not operation.moves_money:
            yield f"operation {operation.operation} no longer counts as moving money"
        if operation.forward_token and not known.forward_token:
            yield f"operation {operation.operation} now forwards the access token"


def _bindings(old: PolicySet, new: PolicySet) -> Iterator[str]:
    """Say what an operation takes from elsewhere: whose request it is, and what for, may be another one now."""
    before = {operation.operation: operation for operation in old.routes.operations}
    for operation in new.routes.operations:
        known = before.get(operation.operation)
        if known is None:
            continue
        if operation.merchant.claim != known.merchant.claim:
            yield f"operation {operation.operation} takes the merchant from another claim, {operation.merchant.claim}"
        if known.profile is not None and operation.profile != known.profile:
            yield f"operation {operation.operation} no longer reads its body by profile {known.profile}"
        hosts = set(operation.hosts or new.routes.hosts) - set(known.hosts or old.routes.hosts)
        if hosts or (operation.method, operation.path) != (known.method, known.path):
            yield f"operation {operation.operation} is now reached in another way"


def _merchants(old: PolicySet, new: PolicySet) -> Iterator[str]:
    before = {merchant.id: merchant for merchant in old.merchants.merchants}
    added: list[str] = []
    for merchant in new.merchants.merchants:
        known = before.get(merchant.id)
        if known is None:
            added.append(merchant.id)
        elif known.status == "suspended" and merchant.status == "active":
            yield f"merchant {merchant.id} is no longer suspended"
        elif known.tier != merchant.tier:
            yield f"merchant {merchant.id} went from tier {known.tier} to {merchant.tier}"
    for start in range(0, len(added), _IDS_IN_A_LINE):
        # Together: ten thousand lines at once would hold up the calls that come meanwhile.
        yield f"merchants were added: {', '.join(added[start : start + _IDS_IN_A_LINE])}"


def _providers(old: PolicySet, new: PolicySet) -> Iterator[str]:
    before = {provider.issuer: provider for provider in old.providers.providers}
    for provider in new.providers.providers:
        known = before.get(provider.issuer)
        if known is None:
            yield f"token issuer of provider {provider.id} was added"
            continue
        for audience in sorted(set(provider.audiences) - set(known.audiences)):
            yield f"provider {provider.id} accepts audience {audience}"
        for algorithm in sorted(set(provider.algorithms) - set(known.algorithms)):
            yield f"provider {provider.id} accepts algorithm {algorithm}"
        for typ in sorted(set(provider.typ) - set(known.typ)):
            yield f"provider {provider.id} accepts token type {typ}"
        if provider.leeway_seconds > known.leeway_seconds:
            yield f"provider {provider.id} accepts tokens {provider.leeway_seconds} s past their end"


def _attributes(old: PolicySet, new: PolicySet) -> Iterator[str]:
    for name, before in old.profiles.items():
        if name not in new.profiles:
            continue
        for attribute, source in before.attributes.items():
            now = new.profiles[name].attributes.get(attribute)
            if now is None:
                yield f"profile {name} no longer reads {attribute}"
            elif now.pointer != source.pointer:
                yield f"profile {name} reads {attribute} from another place"
            elif source.required and not now.required:
                yield f"profile {name} no longer requires {attribute}"


def _cards(old: PolicySet, new: PolicySet) -> Iterator[str]:
    for name, before in old.profiles.items():
        after = new.profiles.get(name)
        if before.card_number is None or after is None or after.card_number == before.card_number:
            continue
        if after.card_number is None:
            yield f"profile {name} no longer reads card numbers"
        elif after.card_number.pointer != before.card_number.pointer:
            yield f"profile {name} reads card numbers from another place"
        elif before.card_number.required:
            yield f"profile {name} no longer requires a card number"
