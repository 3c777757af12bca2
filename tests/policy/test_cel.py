"""Expressions: what compiles, what they say, and what happens without a value."""

from __future__ import annotations

import pytest

from policy.attributes import attribute_catalogue
from policy.cel import MAX_TEXT, CelError, CelInvalid, CelRules, CelUnknown

CEL = CelRules()
PAYMENT = {
    "payment.amount.minor_units": 500,
    "payment.amount.currency": "EUR",
    "card.bin": "411111",
    "auth.scopes": ["payments:read", "payments:write"],
}
UNKNOWN = CelUnknown("card.country")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payment.amount.minor_units > 499", True),
        ("payment.amount.minor_units > 500", False),
        ('"payments:write" in auth.scopes', True),
        ('auth.scopes.exists(s, s.startsWith("payments:"))', True),
        ('card.bin.matches("^4[0-9]{5}$")', True),
        ('payment.amount.currency in ["EUR", "CHF"] // a comment', True),
        ('card.country == "KP"', UNKNOWN),
        ('card.country != "KP"', UNKNOWN),
        ('!(card.country == "KP")', UNKNOWN),
        ('card.country == "KP" ? true : false', UNKNOWN),
        ('payment.amount.minor_units > 1 || card.country == "KP"', True),
        ('payment.amount.minor_units > 900 || card.country == "KP"', UNKNOWN),
        ('payment.amount.minor_units > 900 && card.country == "KP"', False),
        ('present("card.country")', False),
        ("present('card.bin')", True),
        ('!present( "card.country" ) && present("auth.scopes")', True),
        ('present("card.country") && card.country == "KP"', False),
        ("'has(' != \"present(\"", True),
        ("payment.amount.minor_units / 0 == 1", CelError),
        ("payment.amount.minor_units * 9223372036854775807 > 0", CelError),
        ("int(card.bin) > 0", True),
        ("int(payment.amount.currency) > 0", CelError),
    ],
)
def test_expression_says(text, expected):
    program = CEL.compile(text)
    for result in (program.evaluate(PAYMENT), program.evaluate_bound(CEL.bind(PAYMENT))):
        if expected is CelError:
            assert isinstance(result, CelError)
        else:
            assert result == expected


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('card.contry == "KP"', (1, 1), "did you mean 'card.country'"),
        ("true &&\n  card.contry == 'x'", (2, 3), "did you mean"),
        ("payment.amount.minor == 3", (1, 1), "unknown attribute"),
        ("payment.amount", (1, 1), "unknown attribute"),
        ("card.country == 5", (1, 14), "'==' does not work on (string, int)"),
        ("has(card.country)", (1, 1), "present("),
        ("present(card.country)", (1, 1), "in quotes"),
        ('present("card.contry")', (1, 10), "did you mean 'card.country'"),
        ("present", (1, 1), "in quotes"),
        ("present.card.country", (1, 1), "in quotes"),
        ("card.country", (1, 1), "must be true or false"),
        ("", (1, 1), "ends too early"),
        ("card.country ==", (1, 16), "ends too early"),
        ("true) || (false", (1, 5), "unexpected ')'"),
        ("true &", None, ""),
        ("\ud800", (1, 1), "surrogate"),
        ("true || \x00", None, ""),
        ("'a'" + "+'a'" * 60 + "==''", (1, 1), "too deeply"),
        ("(" * 200 + "true" + ")" * 200, (1, 1), "too deeply"),
        ("true" + " || true" * MAX_TEXT, (1, 1), "longer than"),
        ("[1].exists(a, [2].exists(b, unknown_name))", None, "unknown_name"),
        ("dyn(true)", (1, 1), "must be true or false"),
    ],
)
def test_invalid_expression_is_named_with_its_place(text, place, message):
    with pytest.raises(CelInvalid) as caught:
        CEL.compile(text)
    assert message in caught.value.message
    assert place is None or (caught.value.line, caught.value.column) == place


def test_attributes_that_an_expression_reads():
    program = CEL.compile('present("device.id") && card . country == "x" && [1].exists(x, x == time.hour)')
    assert program.attributes == {"card.country", "time.hour"}
    assert program.present_names == {"device.id"}


def test_attribute_inside_a_string_is_not_read():
    assert CEL.compile('"card.country" == card.bin').attributes == {"card.bin"}


@pytest.mark.parametrize("value", ["500", 2**63, None, 1.5, b"5", object(), [5]])
def test_value_of_the_wrong_type_is_an_error_and_never_a_verdict(value):
    values = {"payment.amount.minor_units": value}
    program = CEL.compile("payment.amount.minor_units > 1")
    assert isinstance(program.evaluate(values), CelError)
    assert isinstance(program.evaluate_bound(CEL.bind(values)), CelError)


def test_loop_that_is_too_long_for_one_payment_is_an_error_and_never_a_verdict():
    program = CEL.compile("auth.scopes.exists(a, auth.scopes.exists(b, a == b + 'x'))")
    values = {"auth.scopes": [f"s{number}" for number in range(1000)]}
    assert isinstance(program.evaluate(values), CelError)
    assert isinstance(program.evaluate_bound(CEL.bind(values)), CelError)


def test_unknown_and_error_have_no_truth_value():
    for result in (UNKNOWN, CelError("x")):
        with pytest.raises(TypeError):
            bool(result)


def test_nested_loops_are_bounded():
    numbers = "[" + ",".join(["1"] * 100) + "]"
    text = f"{numbers}.exists(a, {numbers}.exists(b, {numbers}.exists(c, a + b + c > 5)))"
    with pytest.raises(CelInvalid, match="too much work"):
        CEL.compile(text)


def test_guard_is_false_only_when_every_text_is():
    texts = [f"payment.amount.minor_units == {number} // number" for number in range(1000)]
    guards = CEL.compile_any(texts)
    hit, missed = {"payment.amount.minor_units": 999}, {"payment.amount.minor_units": 5000}
    assert any(guard.evaluate(hit) is True for guard in guards)
    assert all(guard.evaluate(missed) is False for guard in guards)


def test_guards_of_long_texts_stay_below_the_cap_of_the_library():
    long_text = "payment.amount.minor_units in [" + ", ".join(str(number) for number in range(700)) + "]"
    guards = CEL.compile_any([long_text] * 100)
    assert 1 < len(guards) < 20
    assert all(guard.evaluate({"payment.amount.minor_units": 9999}) is False for guard in guards)


def test_guard_of_texts_at_the_nesting_limit_still_guards():
    deepest = next(
        text
        for depth in range(60, 0, -1)
        if (text := "(" * depth + "payment.amount.minor_units > 1" + ")" * depth) and compiles(text)
    )
    guards = CEL.compile_any([deepest, deepest])
    assert [guard.evaluate({"payment.amount.minor_units": 1}) for guard in guards] == [False] * len(guards)


def test_guard_of_nothing_is_nothing():
    assert CEL.compile_any([]) == []


def compiles(text: str) -> bool:
    try:
        CEL.compile(text)
    except CelInvalid:
        return False
    return True


def test_catalogue_has_every_leaf_and_no_body_may_set_a_fact_of_the_gate():
    catalogue = attribute_catalogue()
    assert catalogue["payment.amount.minor_units"].type == "int"
    assert catalogue["auth.scopes"].is_repeated
    settable = {name.split(".")[0] for name, attribute in catalogue.items() if attribute.is_from_body}
    assert settable == {"payment", "card", "merchant", "payer", "payee", "device", "shipping", "billing"}
    assert [name for name in catalogue if name.startswith("merchant.") and catalogue[name].is_from_body] == [
        "merchant.id",
        "merchant.sub_id",
    ]
