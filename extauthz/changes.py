"""What a reload loosened, one sentence each, so that the log shows every door that was opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extauthz.binding_changes import binding_loosened
from extauthz.event_changes import events_loosened
from extauthz.introspection.changes import introspection_loosened
from extauthz.signature_changes import signatures_loosened
from policy.loader import PolicySet
from policy.schema.providers import Provider
from policy.schema.routes import Operation

_IDS_IN_A_LINE: Final = 100
_ACTIONS: Final = ("decline", "step_up", "review")
"""Of risk rules, the strictest first."""


def loosened(old: PolicySet, new: PolicySet) -> list[str]:
    """Compare two revisions and return what lets more through than before."""
    parts = (_rules, _operations, _bindings, _merchants, _providers, _revocation, binding_loosened, _attributes, _cards)
    more = (signatures_loosened, events_loosened, introspection_loosened)
    return [sentence for part in (*parts, *more) for sentence in part(old, new)]


def _rules(old: PolicySet, new: PolicySet) -> Iterator[str]:
    now = {rule.id: rule for rule in new.risk.rules}
    for before in old.risk.rules:
        rule = now.get(before.id)
        if rule is None:
            yield f"risk rule {before.id} was removed"
        elif before.mode == "enforce" and rule.mode == "shadow":
            yield f"risk rule {before.id} went from enforce to shadow"
        elif _ACTIONS.index(rule.action) > _ACTIONS.index(before.action):
            yield f"risk rule {before.id} went from {before.action} to {rule.action}"
        elif before.step_up is not None and rule.step_up not in (None, before.step_up):
            yield f"risk rule {before.id} has another step-up; it may ask less"
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
        yield from (f"operation {operation.operation} {change}" for change in _demands(known, operation))
        if known.moves_money and not operation.moves_money:
            yield f"operation {operation.operation} no longer counts as moving money"
        if operation.forward_token and not known.forward_token:
            yield f"operation {operation.operation} now forwards the access token"
        yield from (f"operation {operation.operation} {change}" for change in _repeats(known, operation))
        if known.cookies == "refuse" and operation.cookies == "ignore":
            yield f"operation {operation.operation} no longer refuses cookies"


def _repeats(before: Operation, after: Operation) -> Iterator[str]:
    old = before.idempotency.mode if before.idempotency is not None else "none"
    new = after.idempotency.mode if after.idempotency is not None else "none"
    if new == "upstream_enforced" != old:
        yield "counts a repeat on one idempotency key once"
    if old in ("required", "upstream_enforced") and new in ("none", "optional"):
        yield "no longer needs an idempotency key"


def _demands(before: Operation, after: Operation) -> Iterator[str]:
    """Compare what is asked of a token beside its scopes; what is hard to compare counts as looser."""
    if before.caller == "user" and after.caller == "any":
        yield "no longer needs a user"
    if before.step_up is not None and before.step_up != after.step_up:
        yield "has another step-up; it may ask less" if after.step_up else "no longer asks for step-up"
    if before.actor is not None and before.actor.required and (after.actor is None or not after.actor.required):
        yield "no longer needs an actor"
    known = before.actor.allow if before.actor is not None else ()
    for actor in after.actor.allow if after.actor is not None else ():
        if actor not in known:
            yield f"lets {actor.sub} act for others"
    details, now = before.authorization_details, after.authorization_details
    if details is not None and details != now:
        yield "compares authorization_details otherwise; it may ask less" if now else "no longer asks for consent"
    if set(after.merchant.other_claims) - set(before.merchant.other_claims):
        yield "takes the merchant from further claims"
    if after.merchant.several == "body_picks" != before.merchant.several:
        yield "lets the body pick among the merchants of a token"


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
    before_limit, limit = (file.providers.failed_authentications_per_minute for file in (old, new))
    if limit > before_limit:
        yield f"an address may fail to authenticate {limit} times a minute"
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
        if (known.verified_by, provider.verified_by) == ("tollhouse", "envoy_jwt_authn"):
            yield f"provider {provider.id} takes Envoy's word for the signatures of its tokens"
        yield from _token_profile(known, provider)
        if provider.leeway_seconds > known.leeway_seconds:
            yield f"provider {provider.id} accepts tokens {provider.leeway_seconds} s past their end"


def _revocation(old: PolicySet, new: PolicySet) -> Iterator[str]:
    before, after = old.providers.revocation, new.providers.revocation
    if before is None:
        return
    if after is None:
        yield "revoked tokens pass until they expire"
        return
    if after.max_staleness_seconds > before.max_staleness_seconds:
        yield f"the list of revoked tokens may be {after.max_staleness_seconds} s old"
    if (before.stale_refuses, after.stale_refuses) == ("all", "money"):
        yield "operations that move no money go on while nobody can tell which tokens were revoked"


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


def _token_profile(known: Provider, provider: Provider) -> Iterator[str]:
    if known.payload_typ and set(provider.payload_typ) != set(known.payload_typ):
        yield f"provider {provider.id} tells access tokens by other values of the claim typ"
    if provider.accept_scope_list and not known.accept_scope_list:
        yield f"provider {provider.id} accepts lists of scopes"
    if (provider.scope_claim, provider.client_id_claim) != (known.scope_claim, known.client_id_claim):
        yield f"provider {provider.id} reads scopes or the client from another claim"
    if provider.max_lifetime_seconds > known.max_lifetime_seconds:
        yield f"provider {provider.id} accepts tokens that live for {provider.max_lifetime_seconds} s"


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
