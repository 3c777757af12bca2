"""One defect at a time: its code, and the place that is pointed at (the mark)."""

from __future__ import annotations

import pytest

from helpers.policy_sets import MARK, changed_set, marked_places, write_set
from policy.binding_codes import BINDING
from policy.codes import CODES
from policy.descriptor_codes import DESCRIPTORS
from policy.diagnostics import PolicyInvalid
from policy.introspection_codes import INTROSPECTION
from policy.loader import load_policy_set
from policy.signature_codes import SIGNATURES
from policy.token_codes import TOKENS

ANOTHER_LOOK = """\
  - operation: ⟦look
    method: GET
    path: /v1/refunds/{id}
    scopes: [look]
    merchant: {claim: /merchant_id}
    moves_money: false
"""

CONSENT = "authorization_details: {type: payment_initiation, actions: [initiate], creditor: %s}"

DEFECTS = [
    # reading
    ("a tab as indentation", "P005", ("risk.yaml", "    owner: ops", "⟦\towner: ops")),
    ("an open quote", "P005", ("risk.yaml", "reason: test\n", 'reason: "test⟦')),
    ("a key stands twice", "P006", ("quotas.yaml", "limit: 10\n", "limit: 10\n    ⟦limit: 99\n")),
    ("an anchor", "P007", ("risk.yaml", "reason: test", "reason: ⟦&a test")),
    ("an alias", "P007", ("risk.yaml", "reason: test", "reason: ⟦*a")),
    ("a tag", "P008", ("quotas.yaml", "limit: 1000", "limit: ⟦!!int 1000")),
    ("a directive", "P008", ("risk.yaml", "rules:\n", "⟦%YAML 1.1\n---\nrules:\n")),
    ("a second document", "P009", ("risk.yaml", "reason: test\n", "reason: test\n⟦---\nrules: []\n")),
    ("a zero width space", "P004", ("risk.yaml", "reason: test", "reason: te⟦\u200bst")),
    ("a byte order mark", "P004", ("risk.yaml", "rules:\n", "⟦\ufeffrules:\n")),
    ("text that runs backwards", "P004", ("risk.yaml", "reason: test", "reason: ⟦\u202etest")),
    ("a key without value", "P011", ("quotas.yaml", "limit: 10\n", "limit:⟦\n")),
    ("null as value", "P011", ("quotas.yaml", "limit: 10\n", "limit: ⟦null\n")),
    ("a list as key", "P012", ("merchants.yaml", "name: One", "⟦[a]: One\n    name: One")),
    ("nested too deeply", "P010", ("risk.yaml", "reason: test", "reason: " + "[" * 29 + "⟦[" + "]" * 30)),
    # manifest
    ("a listed file is not there", "P021", ("tollhouse.yaml", "  - risk", "  - ⟦profiles/b.yaml\n  - risk")),
    ("a file outside", "P023", ("tollhouse.yaml", "  - risk", "  - ⟦../risk.yaml\n  - risk")),
    ("an absolute name", "P023", ("tollhouse.yaml", "  - risk", "  - ⟦/etc/passwd\n  - risk")),
    ("a hidden file listed", "P023", ("tollhouse.yaml", "  - risk", "  - ⟦.risk.yaml\n  - risk")),
    ("a name listed twice", "P023", ("tollhouse.yaml", "risk.yaml\n", "risk.yaml\n  - ⟦risk.yaml\n")),
    ("a kind of a later version", "P024", ("tollhouse.yaml", "  - risk", "  - ⟦velocity.yaml\n  - risk")),
    # shape
    ("an unknown key", "P030", ("quotas.yaml", "limit: 10\n", "⟦limt: 10\n    limit: 1\n")),
    ("a missing key", "P031", ("risk.yaml", "id: country\n    owner: ops\n", "⟦id: country\n")),
    ("a word where a list is due", "P032", ("routes.yaml", "scopes: [pay]", "scopes: ⟦pay")),
    ("a list where a word is due", "P032", ("risk.yaml", "reason: test", "reason: ⟦[test]")),
    ("a number with exponent", "P033", ("quotas.yaml", "limit: 1000", "limit: ⟦1e6")),
    ("a number with leading zero", "P033", ("quotas.yaml", "limit: 1000", "limit: ⟦0742")),
    ("a negative limit", "P033", ("quotas.yaml", "limit: 1000", "limit: ⟦-1")),
    ("an amount above 2^53-1", "P033", ("quotas.yaml", "limit: 1000", "limit: ⟦9007199254740992")),
    ("yes instead of true", "P033", ("routes.yaml", "moves_money: true", "moves_money: ⟦yes")),
    ("a word that is none of the choices", "P033", ("risk.yaml", "mode: enforce", "mode: ⟦enforced")),
    ("an id with capitals", "P033", ("risk.yaml", "id: country", "id: ⟦Country")),
    ("a mapping key that is no id", "P033", ("quotas.yaml", "      m_one: 500", "      ⟦m/one: 500")),
    # providers
    ("a user name in an address", "P050", ("providers.yaml", "https://issuer.example", "⟦https://u@issuer.example")),
    ("an address without host", "P050", ("providers.yaml", "https://issuer.example", "⟦https://:443")),
    ("http to a token issuer", "P051", ("providers.yaml", "https://issuer.example", "⟦http://issuer.example")),
    (
        "allow_http off loopback",
        "P051",
        ("providers.yaml", "https://issuer.example", "⟦http://issuer.example\n    allow_http: true"),
    ),
    ("no discovery, no keys", "P052", ("providers.yaml", "    algorithms", "    discovery: ⟦none\n    algorithms")),
    (
        "discovery and keys",
        "P052",
        ("providers.yaml", "    algorithms", "    jwks_uri: ⟦https://issuer.example/keys\n    algorithms"),
    ),
    ("an issuer on a private network", "P050", ("providers.yaml", "https://issuer.example", "⟦https://10.0.0.1")),
    ("an issuer on this machine", "P050", ("providers.yaml", "https://issuer.example", "⟦https://127.0.0.1")),
    (
        "an issuer at a metadata service",
        "P050",
        (
            "providers.yaml",
            "https://issuer.example",
            "⟦https://169.254.169.254\n    allow_private_addresses: true\n    allow_http: true",
        ),
    ),
    (
        "hosts for discovery without discovery",
        "P052",
        (
            "providers.yaml",
            "    algorithms",
            "    discovery: none\n    jwks_uri: https://issuer.example/k\n"
            "    jwks_hosts: ⟦[keys.example]\n    algorithms",
        ),
    ),
    ("a key host's port", "P050", ("providers.yaml", "    algorithms", "    jwks_hosts: [⟦a:65536]\n    algorithms")),
    ("a private key host", "P050", ("providers.yaml", "    algorithms", "    jwks_hosts: [⟦10.0.0.1]\n    algorithms")),
    ("a key host twice", "P040", ("providers.yaml", "    algorithms", "    jwks_hosts: [a, ⟦a]\n    algorithms")),
    ("a key host with a path", "P033", ("providers.yaml", "    algorithms", "    jwks_hosts: [⟦a/b]\n    algorithms")),
    ("an algorithm twice", "P040", ("providers.yaml", "[RS256]", "[RS256, ⟦RS256]")),
    ("a symmetric algorithm", "P033", ("providers.yaml", "[RS256]", "[⟦HS256]")),
    # routes
    (
        "an operation twice",
        "P040",
        ("routes.yaml", "    moves_money: false\n", f"    moves_money: false\n{ANOTHER_LOOK}"),
    ),
    ("a host with port", "P053", ("routes.yaml", "[api.example]", "[⟦api.example:443]")),
    ("a template inside a segment", "P053", ("routes.yaml", "/v1/payments/{id}", "⟦/v1/payments/x{id}")),
    ("a dot segment", "P053", ("routes.yaml", "/v1/payments/{id}", "⟦/v1/../{id}")),
    ("a template name twice", "P040", ("routes.yaml", "/v1/payments/{id}", "⟦/v1/{id}/{id}")),
    ("money by GET", "P054", ("routes.yaml", "method: POST", "method: ⟦GET")),
    ("a body of GET", "P054", ("routes.yaml", "moves_money: false", "moves_money: false\n    profile: ⟦plain")),
    ("money without profile", "P055", ("routes.yaml", "true\n    profile: plain", "⟦true")),
    (
        "money without amount in the profile",
        "P055",
        ("profiles/plain.yaml", "  payment.amount.minor_units: {pointer: /amount}\n", ""),
    ),
    ("an unknown profile", "P041", ("routes.yaml", "profile: plain", "profile: ⟦plane")),
    (
        "a claim with a wrong escape",
        "P033",
        ("routes.yaml", "[pay]\n    merchant: {claim: /merchant_id}", "[pay]\n    merchant: {claim: ⟦/merchant~2}"),
    ),
    # what is asked of a token
    ("neither scope nor consent", "P057", ("routes.yaml", "scopes: [pay]", "scopes: ⟦[]")),
    (
        "a consent where no money moves",
        "P058",
        (
            "routes.yaml",
            "    moves_money: false\n",
            f"    moves_money: false\n    ⟦{CONSENT % '{payee.account: /to}'}\n",
        ),
    ),
    (
        "a merchant that the body picks where no body is read",
        "P058",
        (
            "routes.yaml",
            "[look]\n    merchant: {claim: /merchant_id}",
            "[look]\n    merchant: {claim: /merchant_id, several: ⟦body_picks}",
        ),
    ),
    (
        "a consent to a creditor that no profile reads",
        "P058",
        ("routes.yaml", "profile: plain\n", f"profile: plain\n    {CONSENT % '{⟦payee.account: /to}'}\n"),
    ),
    (
        "a consent to a creditor that does not exist",
        "P041",
        ("routes.yaml", "profile: plain\n", f"profile: plain\n    {CONSENT % '{⟦payee.acount: /to}'}\n"),
    ),
    ("a rule that asks for no step-up in particular", "P059", ("risk.yaml", "decline", "⟦step_up")),
    (
        "a step-up that no rule asks for",
        "P059",
        ("risk.yaml", "decline\n", "decline\n    ⟦step_up: {acr_values: [a]}\n"),
    ),
    ("a step-up rule without content", "P059", ("risk.yaml", "decline\n", "step_up\n    ⟦step_up: {}\n")),
    ("a step-up without content", "P059", ("routes.yaml", "profile: plain\n", "profile: plain\n    ⟦step_up: {}\n")),
    (
        "an acr that would end a challenge",
        "P033",
        ("routes.yaml", "profile: plain\n", "profile: plain\n    step_up: {acr_values: [⟦'a\" b']}\n"),
    ),
    (
        "an actor of either provider",
        "P065",
        ("routes.yaml", "profile: plain\n", "profile: plain\n    actor: {allow: [{sub: ⟦a}]}\n"),
    ),
    (
        "an actor twice",
        "P040",
        ("routes.yaml", "profile: plain\n", "profile: plain\n    actor: {allow: [{sub: a}, {sub: ⟦a}]}\n"),
    ),
    (
        "a further merchant claim with a wrong escape",
        "P033",
        (
            "routes.yaml",
            "[pay]\n    merchant: {claim: /merchant_id}",
            "[pay]\n    merchant: {claim: /a, other_claims: [⟦/b~]}",
        ),
    ),
    ("a resource without TLS", "P062", ("routes.yaml", "hosts", "resource: {identifier: ⟦http://api.example}\nhosts")),
    # profiles
    ("an attribute that does not exist", "P041", ("profiles/plain.yaml", "card.country", "⟦card.contry")),
    ("an attribute that a body must not set", "P042", ("profiles/plain.yaml", "card.country", "⟦peer.ip")),
    ("a pointer with a wrong escape", "P033", ("profiles/plain.yaml", "/card/country", "⟦/card/~country")),
    (
        "an attribute that holds the card number",
        "P043",
        ("profiles/plain.yaml", "{pointer: /card/country}", "{pointer: ⟦/card/n}\ncard_number: {pointer: /card/n}"),
    ),
    # merchants
    ("a merchant twice", "P040", ("merchants.yaml", "id: m_two", "id: ⟦m_one")),
    ("an unknown tier", "P041", ("merchants.yaml", "tier: small", "tier: ⟦smal")),
    ("an unknown time zone", "P061", ("merchants.yaml", "Europe/Berlin", "⟦Europe/Berlim")),
    ("a time zone that is a path", "P061", ("merchants.yaml", "Europe/Berlin", "⟦../../etc/passwd")),
    ("suspended without suspension", "P060", ("merchants.yaml", "active", "⟦suspended")),
    ("active with suspension", "P060", ("merchants.yaml", "suspended\n    susp", "active\n    ⟦susp")),
    ("a day that does not exist", "P033", ("merchants.yaml", "review}", "review, until: ⟦2026-02-30}")),
    # quotas
    ("a quota twice", "P040", ("quotas.yaml", "id: daily", "id: ⟦rate")),
    ("an unknown operation", "P041", ("quotas.yaml", "[pay, look]", "[pay, ⟦lok]")),
    ("an unknown merchant", "P041", ("quotas.yaml", "      m_one: 500", "      ⟦m_on: 500")),
    ("an unknown tier in a quota", "P041", ("quotas.yaml", "    merchants:", "    tiers: {⟦smal: 1}\n    merchants:")),
    ("an amount without currency", "P070", ("quotas.yaml", "amount", "⟦amount")),
    ("a count with currency", "P070", ("quotas.yaml", "limit: 10\n", "currency: ⟦EUR\n    limit: 10\n")),
    ("a currency that does not exist", "P071", ("quotas.yaml", "EUR", "⟦EUX")),
    ("gold as currency", "P071", ("quotas.yaml", "EUR", "⟦XAU")),
    ("a count of one transaction", "P072", ("quotas.yaml", "per_second", "⟦per_transaction")),
    ("an amount per second", "P072", ("quotas.yaml", "interval: daily", "interval: ⟦per_second")),
    (
        "a store setting that nothing needs",
        "P072",
        ("quotas.yaml", "interval: daily", "interval: per_transaction\n    ⟦on_store_failure: deny"),
    ),
    ("a quota without value", "P073", ("quotas.yaml", "id: rate", "id: ⟦rate")),
    (
        "limited and unlimited",
        "P074",
        ("quotas.yaml", "      m_one: 500", "      m_one: 5\n    unlimited: {⟦m_one: {owner: a, reason: b}}"),
    ),
    ("an amount of a read", "P075", ("quotas.yaml", "[pay]", "[pay, ⟦look]")),
    ("a card quota where no card is read", "P077", ("quotas.yaml", "[pay]", "[⟦pay]\n    per: card")),
    (
        "a card quota for one transaction",
        "P072",
        ("quotas.yaml", "interval: daily", "interval: per_transaction\n    per: ⟦card"),
    ),
    (
        "without where no card counts",
        "P072",
        ("quotas.yaml", "interval: daily", "interval: daily\n    ⟦without: {owner: a, reason: b}"),
    ),
    ("rates that are not there", "P082", ("quotas.yaml", "currency: EUR", "currency: EUR\n    ⟦convert: true")),
    # rules
    (
        "a rule twice",
        "P040",
        (
            "risk.yaml",
            "reason: test\n",
            "reason: test\n  - {id: ⟦country, owner: a, mode: shadow, action: review, when: 'true', reason: b}\n",
        ),
    ),
    ("a rule for no operation", "P041", ("risk.yaml", "reason: test", "reason: test\n    operations: [⟦pey]")),
    ("a misspelt attribute", "P080", ("risk.yaml", "card.country in", "⟦card.contry in")),
    ("text compared with a number", "P080", ("risk.yaml", 'card.country in ["KP"]', "card.country ⟦== 5")),
    ("an expression that is no verdict", "P080", ("risk.yaml", 'card.country in ["KP"]', "⟦card.country")),
    ("has()", "P080", ("risk.yaml", 'card.country in ["KP"]', "⟦has(card.country)")),
    ("an expression cut off", "P080", ("risk.yaml", 'in ["KP"]', 'in ["KP"⟦')),
]

# What else must change so that there is this one defect and no other.
ALSO = {
    "an actor of either provider": [
        (
            "providers.yaml",
            "providers:\n",
            "providers:\n"
            "  - {id: b, issuer: https://b.example, audiences: [https://api.example], algorithms: [ES256]}\n",
        )
    ],
    "an amount without currency": [("quotas.yaml", "    currency: EUR\n", "")],
    "a quota without value": [("quotas.yaml", "    limit: 10\n", "")],
    "a card quota for one transaction": [
        ("profiles/plain.yaml", "profile: plain", "profile: plain\ncard_number: {pointer: /card/number}")
    ],
    "money without amount in the profile": [("routes.yaml", "profile: plain", "profile: ⟦plain")],
}


@pytest.mark.parametrize(("name", "code", "change"), DEFECTS, ids=[name for name, _, _ in DEFECTS])
def test_defect_is_reported_with_its_code_where_it_stands(tmp_path, name, code, change):
    changes = [change, *ALSO.get(name, [])]
    files = changed_set(*changes)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, *changes))
    errors = [problem for problem in caught.value.problems if problem.severity == "error"]
    assert [(problem.file, problem.line, problem.column, problem.code) for problem in errors] == [
        (*place, code) for place in marked_places(files)
    ]


def test_every_code_is_known_and_tested_or_named_here():
    tested_elsewhere = {"P001", "P002", "P003", "P020", "P022", "P025", "P026", "P027", "P044", "P056"}
    tested_elsewhere |= {"P063", "P068", "P076", "P078", "P079", "P081", "P083", "P084"}
    for codes in (BINDING, TOKENS, DESCRIPTORS, SIGNATURES, INTROSPECTION):
        tested_elsewhere |= set(codes)
    assert {code for _, code, _ in DEFECTS} | tested_elsewhere == set(CODES)


def test_no_change_is_no_problem(tmp_path):
    assert load_policy_set(write_set(tmp_path)).warnings == ()


def test_marks_are_never_written(tmp_path):
    write_set(tmp_path, ("risk.yaml", "reason: test", "reason: ⟦test"))
    assert MARK not in (tmp_path / "risk.yaml").read_text("utf-8")
