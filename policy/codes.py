"""Every diagnostic code, with what to avoid, what to write instead, and why; docs/policy-errors.md is made of these.

A code is never renamed or reused: people look them up and pipelines match on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from policy.binding_codes import BINDING
from policy.code_spec import CodeSpec
from policy.descriptor_codes import DESCRIPTORS
from policy.introspection_codes import INTROSPECTION
from policy.signature_codes import SIGNATURES
from policy.token_codes import TOKENS

_FILES: Final = {
    "P001": CodeSpec(
        "a file or the directory cannot be read",
        "a missing right, a named pipe, a broken link",
        "a plain file that the service's user may read",
        "A set of which a part cannot be read is not the set that was reviewed.",
    ),
    "P002": CodeSpec(
        "a file is larger than 1 MiB",
        "one file for everything",
        "several profiles; shorter lists",
        "A reload must stay short, and a person must be able to review a file.",
    ),
    "P003": CodeSpec(
        "a file is not UTF-8",
        "UTF-16 or Latin-1 text",
        "UTF-8 without byte order mark",
        "In another encoding the same bytes read as other names.",
    ),
    "P004": CodeSpec(
        "an invisible or control character",
        "zero width spaces, direction marks, a byte order mark, lone carriage returns",
        "visible characters, line feeds, spaces",
        "A reviewer must see what the gate reads.",
    ),
    "P005": CodeSpec(
        "not valid YAML",
        "tabs as indentation, an open quote or bracket",
        "two spaces a level; quotes around text that holds ': ' or ' #'",
        "What cannot be read is not guessed.",
    ),
    "P006": CodeSpec(
        "a key stands twice",
        "`limit: 100` and further down `limit: 100000`",
        "one of them",
        "Readers differ in which one they take.",
    ),
    "P007": CodeSpec(
        "an anchor or alias",
        "`limits: &base` and `*base`",
        "the value, written out where it counts",
        "A change in one place would silently change another, and small files can unfold to huge ones.",
    ),
    "P008": CodeSpec(
        "a tag or directive",
        "`!!int 5`, `%YAML 1.1`",
        "`5`",
        "Tags make readers build things other than text.",
    ),
    "P009": CodeSpec(
        "several documents in one file",
        "a second `---`",
        "one file each",
        "Many readers see only the first.",
    ),
    "P010": CodeSpec(
        "nested too deeply",
        "more than 32 levels",
        "the shape of the sample set",
        "No policy needs it, and it exhausts readers.",
    ),
    "P011": CodeSpec(
        "a value is missing",
        "`limit:` with nothing behind it, `limit: null`, an empty file",
        "a value, or no key",
        "Nothing is not a number: an unlimited merchant is written as `unlimited` with owner and reason.",
    ),
    "P012": CodeSpec(
        "a key is not a plain word",
        "`[a, b]: x`, `? {a: b}`, an empty key",
        "`name: x`",
        "Only words can be looked up.",
    ),
}

_MANIFEST: Final = {
    "P020": CodeSpec(
        "the manifest is missing",
        "a directory without tollhouse.yaml",
        "tollhouse.yaml with `version` and `files`",
        "Without the list, a deleted file would be a deleted quota.",
    ),
    "P021": CodeSpec(
        "a listed file is not there",
        "deleting quotas.yaml alone",
        "remove the name as well, on purpose",
        "A lost file must be noticed.",
    ),
    "P022": CodeSpec(
        "a file is not listed",
        "risk.yaml~, risk-new.yaml, notes.txt beside the set",
        "list it, or keep it elsewhere; names that start with '.' are ignored",
        "A rule that looks active and is not is worse than none.",
    ),
    "P023": CodeSpec(
        "a file name that is not acceptable",
        "`../other.yaml`, `/etc/x.yaml`, the same name twice",
        "`profiles/generic.yaml`",
        "The set ends at its directory.",
    ),
    "P024": CodeSpec(
        "no kind of file that this version reads",
        "`velocity.yaml`, `descriptors/x.yaml`, `limits.yaml`",
        "the files of the sample set",
        "A file that is ignored would look as if it were in force.",
    ),
    "P025": CodeSpec(
        "a required file is not listed",
        "a set without risk.yaml",
        "the file, with an empty list if need be: `rules: []`",
        "That there is no rule must be somebody's decision.",
    ),
    "P026": CodeSpec(
        "a link leaves the directory",
        "`quotas.yaml -> /tmp/quotas.yaml`",
        "a link inside the directory (Kubernetes' `..data` is one), or the file itself",
        "Who may write there would write policy.",
    ),
    "P027": CodeSpec(
        "too many files",
        "more than 256 files",
        "fewer, larger profiles",
        "A reload must stay short.",
    ),
}

_SHAPE: Final = {
    "P030": CodeSpec(
        "an unknown key",
        "`limt: 100`",
        "`limit: 100`",
        "A misspelt key would be a limit that nobody enforces.",
    ),
    "P031": CodeSpec(
        "a key is missing",
        "a rule without `owner`",
        "`owner: risk-operations`",
        "What decides about payments is written down, not assumed.",
    ),
    "P032": CodeSpec(
        "another kind of value is expected",
        "`scopes: payments:write`",
        "`scopes: [payments:write]`",
        "A word is not a list of one.",
    ),
    "P033": CodeSpec(
        "a value is not acceptable",
        "`limit: 1e6`, `limit: 0742`, `mode: shadowed`",
        "`limit: 1000000`, `mode: shadow`",
        "Two people must read the same number.",
    ),
    "P040": CodeSpec(
        "something stands twice",
        "two merchants with one id",
        "one entry each",
        "Which one counts would be chance.",
    ),
    "P041": CodeSpec(
        "a reference leads nowhere",
        "`operations: [create_paymnt]`",
        "`operations: [create_payment]`",
        "A quota for an operation that does not exist limits nothing.",
    ),
    "P042": CodeSpec(
        "a body must not set this attribute",
        "`peer.ip: {pointer: /ip}` in a profile",
        "`payer.ip: {pointer: /ip}`",
        "Facts of the gate itself must not come from the caller.",
    ),
    "P043": CodeSpec(
        "an attribute that would hold a card number",
        "`card_number: {pointer: /card/number}` and `payment.reference: {pointer: /card/number}`",
        "`card_number` alone",
        "A rule, a record or an error could show it.",
    ),
    "P044": CodeSpec(
        "something is kept as a keyed hash and there is no card key file",
        "`card_number` in a profile or a quota `per: payer`, and extauthz started without `--card-key-file`",
        "`--card-key-file FILE` with a key of 32 random bytes; or nothing that needs it",
        "Without a key cards, payers, devices and addresses could only be told by their own text, which is never kept.",
    ),
}

_MEANING: Final = {
    "P050": CodeSpec(
        "an address cannot be used",
        "`https://user:word@issuer.example`, `https://:443`",
        "`https://issuer.example`",
        "Policy files hold no secrets, and keys are fetched from this address.",
    ),
    "P051": CodeSpec(
        "http:// for a token issuer",
        "`issuer: http://issuer.example`",
        "`issuer: https://issuer.example`; `allow_http: true` for loopback in development",
        "Whoever is on the way could forge keys, and with them every token.",
    ),
    "P052": CodeSpec(
        "discovery and jwks_uri contradict each other",
        "`discovery: none` alone, or `discovery: oidc` with `jwks_uri`",
        "either discovery, or `discovery: none` with `jwks_uri`",
        "There must be one source of keys.",
    ),
    "P053": CodeSpec(
        "a host or path that no request can have",
        "`hosts: [shop.example:443]`, `path: /v1/pay{id}`, `path: /v1//x`",
        "`hosts: [shop.example]`, `path: /v1/payments/{payment_id}`",
        "A route that never matches refuses requests that somebody counts on.",
    ),
    "P054": CodeSpec(
        "GET or HEAD with a body or with money",
        "`method: GET` with `moves_money: true`",
        "`method: POST`",
        "Safe methods are repeated and cached on the way (RFC 9110 section 9.2.1).",
    ),
    "P055": CodeSpec(
        "money moves without its attributes",
        "`moves_money: true` without a profile, or with one that names no amount",
        "a profile with payment.amount.minor_units, payment.amount.currency and merchant.id",
        "No quota can count an amount that nobody reads.",
    ),
    "P056": CodeSpec(
        "one request matches two operations",
        "`/v1/{kind}/new` and `/v1/payments/{id}`",
        "paths of which one is the more literal at every place",
        "Which scopes and quotas hold must not depend on order.",
    ),
    "P057": CodeSpec(
        "an operation that asks nothing of a token",
        "`scopes: []` alone",
        "`scopes: [payments:write]`, or `authorization_details`",
        "Any token of a believed issuer would do.",
    ),
    "P058": CodeSpec(
        "a consent or a choice with nothing to compare it with",
        "`authorization_details` where no money moves, a `creditor` attribute that the profile does not read, or "
        "`several: body_picks` where no profile reads merchant.id",
        "`moves_money: true` and a profile that names payee.account",
        "A consent to one payment, or a choice of the body, means something only beside that body.",
    ),
    "P059": CodeSpec(
        "a step-up that asks for nothing",
        "`step_up: {}`; `action: step_up` alone; `step_up` with `action: review`",
        "`acr_values`, `max_age_seconds`, or both",
        "It would look like protection and be none.",
    ),
    "P060": CodeSpec(
        "status and suspension contradict each other",
        "`status: suspended` without `suspension`",
        "both, with owner and reason; neither for an active merchant",
        "Whoever finds the merchant suspended must know whom to ask.",
    ),
    "P061": CodeSpec(
        "an unknown time zone",
        "`time_zone: CEST`, `time_zone: Berlin`",
        "`time_zone: Europe/Berlin`",
        "Daily quotas turn at midnight there, also when clocks change.",
    ),
    "P062": CodeSpec(
        "a resource whose metadata cannot be found",
        "`resource: {identifier: http://payments.example}`, a path in the identifier",
        "`https://payments.example`",
        "Clients build the address of the metadata out of it (RFC 9728 section 3), and trust what they find there.",
    ),
    "P063": CodeSpec(
        "a resource that no token is for (warning)",
        "`resource: {identifier: https://other.example}` without that audience in providers.yaml",
        "one of the audiences",
        "Clients ask token issuers for this name, and their tokens would be refused.",
    ),
    "P065": CodeSpec(
        "an actor of no certain issuer",
        "`allow: [{sub: wallet-1}]` beside two providers",
        "`allow: [{sub: wallet-1, issuer: https://wallets.example}]`",
        "Two token issuers may give one name to two parties, and each would be let in for the other.",
    ),
    "P068": CodeSpec(
        "a temporary value that cannot hold",
        "an override that ends before it starts, or whose approver is its owner",
        "`starts: 2026-12-01`, `ends: 2026-12-31`, two people",
        "A raise is for a time, and two people answer for it.",
    ),
    "P070": CodeSpec(
        "metric and currency contradict each other",
        "`metric: amount` without `currency`; `metric: count` with one",
        "`metric: amount` and `currency: EUR`",
        "Amounts of two currencies cannot be added.",
    ),
    "P071": CodeSpec(
        "an unknown currency",
        "`currency: EURO`, `currency: XAU`",
        "`currency: EUR`",
        "Amounts are counted in the minor units that ISO 4217 defines.",
    ),
    "P072": CodeSpec(
        "a setting that has no meaning here",
        "`metric: count` with `interval: per_transaction`; `on_store_failure` with it; `burst` without a rate",
        "settings that belong together, as the message says",
        "It would look like protection and be none.",
    ),
    "P073": CodeSpec(
        "a quota without any value",
        "a quota with operations alone",
        "`limit`, `tiers`, `merchants`, or `unlimited` with owner and reason",
        "No value is not the same as no limit.",
    ),
    "P074": CodeSpec(
        "a merchant is limited and unlimited at once",
        "`m_shop` under `merchants` and under `unlimited`",
        "one of them",
        "A written exception must be the only word on it.",
    ),
    "P075": CodeSpec(
        "an amount quota for an operation without amount",
        "`metric: amount` for read_payment",
        "`metric: count`",
        "Every such request would be refused with amount_missing.",
    ),
    "P076": CodeSpec(
        "payments that no enforced amount quota covers (warning)",
        "a new merchant whose tier no amount quota names",
        "a value for its tier, or `unlimited` with owner and reason",
        "Nothing passes by omission: each of these payments is refused with quota_undefined.",
    ),
    "P077": CodeSpec(
        "a card quota for an operation that reads no card",
        "`per: card` for an operation whose profile has no `card_number`",
        "`card_number: {pointer: /card/number}` in the profile",
        "There would be no card to count, and every such payment would be refused or none counted.",
    ),
    "P078": CodeSpec(
        "more counters than one request may have",
        "65 quotas with a window for one operation",
        "at most 64, of which `per: card` takes two each",
        "The store counts all of them in one step or none, and a step is bounded.",
    ),
    "P079": CodeSpec(
        "a step of a test that cannot happen",
        "`pay` and `outcome` in one step, `at` before the step above, an `outcome` of no payment",
        "one step for the payment, one below it for its outcome",
        "A test that cannot be run as it is written proves nothing.",
    ),
    "P082": CodeSpec(
        "a rate that cannot be counted by",
        "two rates of one currency for one day, `rate: 0`, `convert: true` without rates.yaml or into another currency",
        "one rate a day and currency, into the currency of the quota",
        "An amount that is converted wrongly takes too little of a quota.",
    ),
    "P083": CodeSpec(
        "a quota that waits for outcomes that no operation can tell (warning)",
        "`counts: authorized` for operations without `outcome`",
        "`outcome: {declined: [402]}` in the operation, with the statuses of a decline",
        "A declined payment stays counted: more is refused than need be, and never less.",
    ),
    "P084": CodeSpec(
        "a status that does not prove a decline (warning)",
        "`declined: [402, 503]`",
        "`declined: [402]`: what the upstream answers only when it has not taken the payment",
        "A payment that was taken would be given back, and the merchant could spend more than the limit.",
    ),
    "P080": CodeSpec(
        "a rule is no valid expression",
        '`card.contry == "DE"`, `payment.amount.minor_units > "5"`, `has(card.country)`',
        '`present("card.country") && card.country == "DE"`',
        "A rule that cannot be evaluated protects nobody.",
    ),
    "P081": CodeSpec(
        "a rule fires on every payment of an operation (warning)",
        "reading card.funding with `on_missing: match` where the profile never provides it",
        "add it to the profile, set `on_missing: skip`, or ask `present(...)` first",
        "An enforced rule would decline everything, a shadow rule would drown its records.",
    ),
}

CODES: Final[Mapping[str, CodeSpec]] = MappingProxyType(
    {**_FILES, **_MANIFEST, **_SHAPE, **_MEANING, **BINDING, **TOKENS, **SIGNATURES, **DESCRIPTORS, **INTROSPECTION}
)
"""Every code that a policy set can be given."""
