"""A reload that loosens the signing of requests says so; one that tightens it is silent."""

from __future__ import annotations

import pytest

from extauthz.changes import loosened
from helpers.policy_sets import write_set
from policy.loader import load_policy_set

KEY = "key: {kty: OKP, crv: Ed25519, x: JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs}"
OTHER_KEY = KEY.replace("Jr", "Kr")
ALL = '"@method", "@target-uri", authorization, content-digest'
NEXT = ("k2", "shop", KEY)


def signer(keyid="k1", client="shop", key=KEY):
    return f"  - {{keyid: {keyid}, issuer: https://issuer.example, client_id: {client}, algorithm: ed25519, {key}}}\n"


def load(root, demand="{}", first=(), *more):
    root.mkdir()
    signers = signer(*first) + "".join(signer(*item) for item in more)
    signature = f"    message_signature: {demand}\n" if demand else ""
    changes = [
        ("providers.yaml", "    algorithms: [RS256]\n", f"    algorithms: [RS256]\nsigners:\n{signers}"),
        ("routes.yaml", "    moves_money: true\n", f"    moves_money: true\n{signature}"),
    ]
    return load_policy_set(write_set(root, *changes))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (("{}",), ("",), "operation pay no longer needs signed requests"),
        ((f"{{components: [{ALL}, dpop]}}",), ("{}",), "operation pay takes signatures that do not cover dpop"),
        (("{max_age_seconds: 30}",), ("{}",), "operation pay takes signatures for longer"),
        (("{tag: a}",), ("{tag: b}",), "operation pay takes other signatures: tag or label changed"),
        (("{}",), ("{}", (), NEXT), "signer k2 was added"),
        (("{}",), ("{}", ("k1", "other")), "signer k1 has another key or another owner"),
        (("{}",), ("{}", ("k1", "shop", OTHER_KEY)), "signer k1 has another key or another owner"),
    ],
)
def test_looser_set_says_what_it_lets_through(tmp_path, before, after, said):
    old, new = load(tmp_path / "old", *before), load(tmp_path / "new", *after)
    assert loosened(old, new) == [said]
    assert loosened(old, old) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("",), ("{}",)),
        (("{}",), (f"{{components: [{ALL}, dpop], max_age_seconds: 30}}",)),
        (("{}", (), NEXT), ("{}",)),
    ],
)
def test_tighter_set_is_silent(tmp_path, before, after):
    assert loosened(load(tmp_path / "old", *before), load(tmp_path / "new", *after)) == []
