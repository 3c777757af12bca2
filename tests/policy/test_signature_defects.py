"""Defects of message signatures: their codes, the places pointed at (the mark), and twins that are sound."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from extauthz.compile import OperatorMeans
from extauthz.signatures.signers import compile_signers, signer_problems
from helpers.issuer import SigningKey
from helpers.policy_sets import changed_set, marked_places, write_set
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set
from policy.signature_codes import SIGNATURES
from policy.token_means import missing_token_means, needs_replay_store
from tollhouse.__main__ import app

EC = SigningKey("ES256").jwk(use=None, alg=None, kid=None)
ED = SigningKey("Ed25519").jwk(use=None, alg=None, kid=None)
RSA = SigningKey("PS512").jwk(use=None, alg=None, kid=None)
SHORT_RSA = SigningKey("PS512", bits=1024).jwk(use=None, alg=None, kid=None)
ALL = '"@method", "@target-uri", authorization, content-digest'


def signer(key=ED, algorithm="ed25519", keyid="k1", issuer="https://issuer.example"):
    members = ", ".join(f"{name}: {value}" for name, value in key.items())
    return f"  - {{keyid: {keyid}, issuer: {issuer}, client_id: shop, algorithm: {algorithm}, key: {{{members}}}}}\n"


def signers(*items: str) -> tuple[str, str, str]:
    return "providers.yaml", "    algorithms: [RS256]\n", f"    algorithms: [RS256]\nsigners:\n{''.join(items)}"


def pay(text: str) -> tuple[str, str, str]:
    return "routes.yaml", "    moves_money: true\n", f"    moves_money: true\n    {text}\n"


def look(text: str) -> tuple[str, str, str]:
    return "routes.yaml", "    moves_money: false\n", f"    moves_money: false\n    {text}\n"


DEFECTS = [
    ("P100", [signers(signer()), pay('message_signature: {components: ⟦["@method", "@target-uri", authorization]}')]),
    ("P100", [signers(signer()), pay('message_signature: {components: ⟦["@method", "@path", content-digest]}')]),
    (
        "P100",
        [signers(signer()), pay(f"message_signature: {{components: ⟦[{ALL}]}}\n    idempotency: {{mode: required}}")],
    ),
    (
        "P100",
        [
            signers(signer()),
            pay(
                f"message_signature: {{components: ⟦[{ALL}, idempotency-key]}}\n"
                "    idempotency: {mode: required, header: x-key}"
            ),
        ],
    ),
    ("P101", [signers(signer()), look(f"message_signature: {{components: ⟦[{ALL}]}}")]),
    ("P102", [pay("⟦message_signature: {max_age_seconds: 30}")]),
    ("P103", [signers(signer()), pay("message_signature: {tag: payments, label: ⟦sig1}")]),
    ("P040", [signers(signer()), pay(f"message_signature: {{components: [{ALL}, dpop, ⟦dpop]}}")]),
    ("P040", [signers(signer(), signer(EC, "ecdsa-p256-sha256", "⟦k1"))]),
    ("P041", [signers(signer(issuer="⟦https://other.example"))]),
    ("P033", [signers(signer(algorithm="⟦hmac-sha256"))]),
    ("P033", [signers(signer()), pay("message_signature: {max_age_seconds: ⟦61}")]),
    ("P033", [signers(signer()), pay('message_signature: {components: [⟦"@query-param"]}')]),
    ("P033", [signers(signer()), pay("message_signature: {components: [⟦Authorization]}")]),
    ("P030", [signers(signer({**ED, "⟦d": "AAAA"}))]),
]
SOUND = [
    [signers(signer(), signer(EC, "ecdsa-p256-sha256", "k2"), signer(RSA, "rsa-pss-sha512", "k3"))],
    [signers(signer()), pay("message_signature: {}")],
    [signers(signer()), pay(f"message_signature: {{components: [{ALL}, dpop, idempotency-key], tag: payments}}")],
    [
        signers(signer()),
        pay(f"message_signature: {{components: [{ALL}, idempotency-key]}}\n    idempotency: {{mode: required}}"),
    ],
    [signers(signer()), pay("message_signature: {}\n    idempotency: {mode: optional}")],
    [signers(signer()), look('message_signature: {components: ["@method", "@target-uri", authorization]}')],
]
UNUSABLE = [
    signer(EC, "ed25519"),
    signer(ED, "ecdsa-p256-sha256"),
    signer(ED, "rsa-pss-sha512"),
    signer(SHORT_RSA, "rsa-pss-sha512"),
    signer({**EC, "y": EC["x"]}, "ecdsa-p256-sha256"),
    signer({**EC, "x": EC["x"][:-2]}, "ecdsa-p256-sha256"),
    signer({"kty": "OKP", "crv": "Ed25519"}),
]


@pytest.mark.parametrize(("code", "changes"), DEFECTS)
def test_defect_of_signatures_is_reported_where_it_stands(tmp_path, code, changes):
    files = changed_set(*changes)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(write_set(tmp_path, *changes))
    found = [(problem.file, problem.line, problem.column, problem.code) for problem in caught.value.problems]
    assert found == [(*place, code) for place in marked_places(files)]


@pytest.mark.parametrize("changes", SOUND)
def test_sound_twins_load(tmp_path, changes):
    policy = load_policy_set(write_set(tmp_path, *changes))
    assert policy.warnings == ()
    assert signer_problems(policy) == ()
    assert len(compile_signers(policy)) == len(policy.providers.signers)


@pytest.mark.parametrize("item", UNUSABLE)
def test_key_that_cannot_be_used_is_told_where_it_stands(tmp_path, item):
    policy = load_policy_set(write_set(tmp_path, signers(signer(keyid="k0"), item)))
    (problem,) = signer_problems(policy)
    assert (problem.code, problem.file, problem.line) == ("P104", "providers.yaml", 8)
    assert list(compile_signers(policy)) == ["k0"]
    assert problem in OperatorMeans().missing(policy)  # so that the set is not served


def test_check_of_the_command_line_tells_it_too(tmp_path):
    result = CliRunner().invoke(app, ["check", str(write_set(tmp_path, signers(signer(SHORT_RSA, "rsa-pss-sha512"))))])
    assert result.exit_code == 1
    assert "P104 RSA key size not accepted" in result.output


def test_outdated_padding_is_a_warning(tmp_path):
    policy = load_policy_set(write_set(tmp_path, signers(signer(RSA, "rsa-v1_5-sha256"))))
    assert [(problem.code, problem.severity) for problem in policy.warnings] == [("P105", "warning")]
    assert signer_problems(policy) == ()


def test_set_that_demands_signatures_is_not_served_without_a_store(tmp_path):
    policy = load_policy_set(write_set(tmp_path, signers(signer()), pay("message_signature: {}")))
    assert needs_replay_store(policy)
    (problem,) = missing_token_means(policy, has_store=False, has_nonce_key=False)
    assert (problem.code, problem.file, problem.line) == ("P093", "routes.yaml", 9)
    assert missing_token_means(policy, has_store=True, has_nonce_key=False) == ()


def test_every_code_of_signatures_is_tested_here():
    assert {code for code, _ in DEFECTS} | {"P104", "P105"} >= set(SIGNATURES)
