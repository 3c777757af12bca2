"""Asking token issuers, in providers.yaml and routes.yaml: what is refused, what it needs, what lets more through."""

from __future__ import annotations

import pytest

from extauthz.changes import loosened
from helpers.policy_sets import MARK, changed_set, marked_places, write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import PolicySet, load_policy_set
from policy.token_means import missing_credentials

ALGORITHMS = "    algorithms: [RS256]\n"
MONEY = "    moves_money: true\n"
READ = "    moves_money: false\n"
WHO = "client_id: gate, authentication: client_secret_basic"
ASKED = f"endpoint: https://issuer.example/introspect, {WHO}"


def provider(text: str) -> tuple[str, str, str]:
    return ("providers.yaml", ALGORITHMS, f"{ALGORITHMS}    introspection: {text}\n")


def second(text: str, first: str) -> tuple[str, str, str]:
    other = "  - {id: other, issuer: https://other.example, audiences: [https://api.example], algorithms: [RS256]"
    whole = f"{ALGORITHMS}    introspection: {{{first}}}\n{other}, introspection: {text}}}\n"
    return ("providers.yaml", ALGORITHMS, whole)


def payment(text: str) -> tuple[str, str, str]:
    return ("routes.yaml", MONEY, f"    introspect: {text}\n{MONEY}")


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("P031", [provider(f"⟦{{{WHO}}}")]),
        ("P033", [provider(f"{{endpoint: ⟦issuer.example, {WHO}}}")]),
        ("P051", [provider(f"{{endpoint: ⟦http://issuer.example/introspect, {WHO}}}")]),
        ("P033", [provider(f"{{{ASKED}, cache_seconds: ⟦301}}")]),
        ("P033", [provider(f"{{{ASKED}, timeout_ms: ⟦2001}}")]),
        ("P033", [provider(f"{{{ASKED}, reply: ⟦text}}")]),
        ("P030", [provider(f"{{{ASKED}, ⟦client_secret: x}}")]),
        ("P098", [provider(f"{{{ASKED}, token_prefix: ⟦shop_}}")]),
        ("P098", [provider(f"{{{ASKED}, opaque_tokens: true, token_prefix: ⟦ey}}")]),
        ("P098", [provider(f"{{{ASKED}, opaque_tokens: true, token_prefix: ⟦eyJh}}")]),
        ("P098", [second(f"⟦{{{ASKED}, opaque_tokens: true}}", f"{ASKED}, opaque_tokens: true")]),
        ("P098", [payment("⟦{when: always}")]),
        ("P098", [provider(f"{{{ASKED}}}"), payment("⟦{when: above}")]),
        ("P098", [provider(f"{{{ASKED}}}"), payment("⟦{when: above, amount: 100}")]),
        ("P098", [provider(f"{{{ASKED}}}"), payment("⟦{when: always, amount: 100, currency: EUR}")]),
        (
            "P098",
            [
                provider(f"{{{ASKED}}}"),
                ("routes.yaml", READ, f"    introspect: ⟦{{when: above, amount: 1, currency: EUR}}\n{READ}"),
            ],
        ),
    ],
)
def test_defect_is_reported_where_it_stands(tmp_path, code, changes):
    files = changed_set(*changes)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, *changes))
    found = [(problem.file, problem.line, problem.column, problem.code) for problem in caught.value.problems]
    assert found == [(*place, code) for place in marked_places(files)]
    assert MARK not in str(caught.value)


def test_issuers_whose_opaque_tokens_begin_otherwise_are_told_apart(tmp_path):
    one, two = (f"{ASKED}, opaque_tokens: true{more}" for more in ("", ", token_prefix: shop_"))
    policy = load_policy_set(write_set(tmp_path, second(f"{{{two}}}", one)))
    assert policy.warnings == ()


def test_issuers_that_cannot_be_asked_are_warned_of(tmp_path):
    other = "  - {id: other, issuer: https://other.example, audiences: [https://api.example], algorithms: [RS256]}\n"
    asked = ("providers.yaml", ALGORITHMS, f"{ALGORITHMS}    introspection: {{{ASKED}}}\n{other}")
    policy = load_policy_set(write_set(tmp_path, asked, payment("{when: always}")))
    (warning,) = policy.warnings
    assert (warning.code, "'other'" in warning.message or "other" in warning.message) == ("P098", True)


def test_set_that_asks_is_not_served_without_credentials(tmp_path):
    policy = load_policy_set(write_set(tmp_path, provider(f"{{{ASKED}}}")))
    (problem,) = missing_credentials(policy)
    assert (problem.file, problem.code) == ("providers.yaml", "P099")


def test_set_that_asks_nobody_needs_none(tmp_path):
    assert missing_credentials(load_policy_set(write_set(tmp_path))) == ()


def loaded(root, *changes) -> PolicySet:
    root.mkdir()
    return load_policy_set(write_set(root, *changes))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (f"{{{ASKED}}}", f"{{{ASKED}, opaque_tokens: true}}", "takes opaque tokens"),
        (f"{{{ASKED}, reply: jwt}}", f"{{{ASKED}}}", "without a signature"),
        (f"{{{ASKED}}}", f"{{{ASKED}, cache_seconds: 60}}", "for 60 s"),
    ],
)
def test_each_loosening_of_an_issuer_is_one_sentence_and_the_way_back_none(tmp_path, before, after, said):
    old, new = loaded(tmp_path / "old", provider(before)), loaded(tmp_path / "new", provider(after))
    (sentence,) = loosened(old, new)
    assert said in sentence
    assert loosened(new, old) == []


def test_another_endpoint_and_another_prefix_are_told(tmp_path):
    opaque = f"{{{ASKED}, opaque_tokens: true, token_prefix: shop_}}"
    moved = opaque.replace("/introspect", "/elsewhere").replace("shop_", "sho")
    sentences = loosened(loaded(tmp_path / "old", provider(opaque)), loaded(tmp_path / "new", provider(moved)))
    assert sentences == [
        "provider main takes opaque tokens with another beginning",
        "provider main is asked about tokens elsewhere",
    ]


ABOVE = "{when: above, amount: 100, currency: EUR}"


@pytest.mark.parametrize(
    ("before", "after", "is_less"),
    [
        ("{when: always}", ABOVE, True),
        (ABOVE, "{when: above, amount: 101, currency: EUR}", True),
        (ABOVE, "{when: above, amount: 100, currency: USD}", True),
        (ABOVE, None, True),
        (ABOVE, "{when: above, amount: 99, currency: EUR}", False),
        (ABOVE, "{when: always}", False),
        (None, ABOVE, False),
    ],
)
def test_fewer_requests_that_are_asked_about_are_told(tmp_path, before, after, is_less):
    sets = [
        loaded(tmp_path / name, provider(f"{{{ASKED}}}"), *([payment(text)] if text else []))
        for name, text in (("old", before), ("new", after))
    ]
    assert loosened(*sets) == (["operation pay asks issuers about fewer requests"] if is_less else [])
