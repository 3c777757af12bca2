"""Descriptor files: what envoyproxy/ratelimit refuses is refused; its surprises are errors, and taken under compat."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.descriptor_files import (
    COMPAT,
    DEFAULT,
    errors_of,
    find,
    limit,
    marks,
    one_rule,
    places,
    read,
    read_sound,
    warnings_of,
)
from policy.descriptor_codes import DESCRIPTORS
from policy.descriptors.reader import DescriptorOptions

BOTH = pytest.mark.parametrize("options", [DEFAULT, COMPAT], ids=["default", "compat"])

REFUSED = [
    ("⟦descriptors: []", "P120", "config file cannot have empty domain"),
    ("domain: ⟦''\ndescriptors: []", "P120", "config file cannot have empty domain"),
    ("domain: ⟦~\n", "P120", "config file cannot have empty domain"),
    ("⟦", "P011", "config file cannot have empty domain"),
    ("--- \n⟦--- \ndomain: d", "P120", "config file cannot have empty domain"),
    ("domain: ⟦tollhouse", "P122", "quotas are asked in"),
    ("domain: d\ndescriptors: [⟦{value: v}]", "P123", "descriptor has empty key"),
    ("domain: d\ndescriptors: [{key: ⟦~}]", "P123", "descriptor has empty key"),
    (
        "domain: d\ndescriptors: [{key: a, value: b}, ⟦{key: a, value: b}]",
        "P124",
        "duplicate descriptor composite key 'd.a_b'",
    ),
    (
        "domain: d\ndescriptors: [{key: a, value: b, descriptors: [{key: c}, ⟦{key: c}]}]",
        "P124",
        "duplicate descriptor composite key 'd.a_b.c'",
    ),
    (one_rule("{unit: ⟦foo, requests_per_unit: 5}"), "P125", "invalid rate limit unit 'foo'"),
    (one_rule("{unit: ⟦unknown, requests_per_unit: 5}"), "P125", "invalid rate limit unit 'unknown'"),
    (one_rule("{unit: ⟦\u017fecond, requests_per_unit: 5}"), "P125", "invalid rate limit unit"),
    (one_rule("⟦{requests_per_unit: 5}"), "P125", "invalid rate limit unit ''"),
    (one_rule("{unlimited: true, unit: ⟦day}"), "P125", "should not specify rate limit unit when unlimited"),
    (
        one_rule("{unit: day, requests_per_unit: 1, name: me, replaces: [⟦{name: me}]}"),
        "P127",
        "replaces should not contain name of same descriptor",
    ),
    (
        one_rule("{unit: day, requests_per_unit: 1, replaces: [⟦{name: ''}]}"),
        "P127",
        "should not have an empty replaces entry",
    ),
    (
        "domain: d\ndescriptors: [{key: a, value: b, share_threshold: ⟦true}]",
        "P128",
        "share_threshold can only be used with wildcard values",
    ),
    (
        one_rule("{unit: day, requests_per_unit: 1, ⟦requestsperunit: 1}"),
        "P030",
        "config error, unknown key 'requestsperunit'",
    ),
    ("domain: d\n⟦extra: 1", "P030", "config error, unknown key 'extra'"),
    ("domain: d\n⟦0.25: 1", "P012", "config error, key is not of type string: 0.25"),
    ("domain: d\n⟦yes: 1", "P012", "config error, key is not of type string"),
    ("domain: d\ndescriptors: [⟦a]", "P032", "config error, yaml file contains list of type other than map: a"),
    ("domain: d\ndescriptors: ⟦{}", "P032", "error loading config file"),
    ("domain: [⟦]".replace("[⟦]", "⟦[]"), "P032", "error loading config file"),
    (one_rule("⟦5"), "P032", "error loading config file"),
    ("⟦- a", "P032", "error loading config file"),
    (one_rule("{unit: day, requests_per_unit: ⟦4294967296}"), "P126", "error loading config file"),
    (one_rule("{unit: day, requests_per_unit: ⟦-1}"), "P126", "error loading config file"),
    (one_rule("{unit: day, requests_per_unit: ⟦'5'}"), "P126", "error loading config file"),
    (one_rule("{unit: day, requests_per_unit: ⟦true}"), "P126", "error loading config file"),
    *[
        (one_rule(f"{{unit: day, requests_per_unit: ⟦{number}}}"), "P135", "error checking config")
        for number in ("1.5", "1e3", "5.0", "08", "9223372036854775808", ".inf")
    ],
    ("domain: d\ndescriptors: [{key: a, value: ⟦1.5}]", "P135", "error checking config"),
    *[
        (
            one_rule("{unlimited: true}", f"    shadow_mode: ⟦{value}"),
            "P032",
            "error loading config file",
        )
        for value in ("1", "'true'", "tRue", "[]")
    ],
    ("domain: d\ndescriptors:\n  - key: a\n ⟦- key: b", "P005", "error loading config file"),
    ("domain: ⟦*nowhere", "P007", "error loading config file"),
    ("domain: d\ndescriptors: &a [⟦*a]", "P007", "value contains itself"),
    ("domain: d\nname: ⟦!!binary aGk=", "P008", "error loading config file"),
    ("domain: d\ndescriptors: [{key: a, metadata: ⟦[x]}]", "P032", "error loading config file"),
]


@BOTH
@pytest.mark.parametrize(("text", "code", "fragment"), REFUSED)
def test_what_the_go_loader_refuses_is_refused_with_its_words_and_a_place(text, code, fragment, options):
    _, problems = read(text, options=options)
    errors = [error for error in errors_of(problems) if error.code != "P009"]
    assert [error.code for error in errors] == [code]
    assert fragment in errors[0].message
    assert places(errors)[:1] == marks(text)


SURPRISES = [
    ("domain: d\n⟦---\nbroken: [", "P009"),
    ("domain: d\n...\n⟦domain: e", "P009"),
    ("domain: c\n⟦domain: d", "P006"),
    (one_rule("⟦{unit: day}"), "P126"),
    (one_rule("{unit: day, requests_per_unit: ⟦~}"), "P126"),
    (one_rule("{unlimited: true, requests_per_unit: ⟦5}"), "P126"),
    (one_rule("{unlimited: true, unit: ⟦fortnight}"), "P125"),
    (one_rule("{unit: day, requests_per_unit: ⟦010}"), "P129"),
    (one_rule("{unit: day, requests_per_unit: ⟦0x10}"), "P129"),
    (one_rule("{unit: day, requests_per_unit: ⟦1_0}"), "P129"),
    (one_rule("{unit: day, requests_per_unit: 1, ⟦shadow_mode: true}"), "P130"),
    (one_rule("{unit: day, requests_per_unit: 1}", "    ⟦unit: hour"), "P130"),
    ("domain: d\ndescriptors: [{key: h, value: ⟦}]", "P133"),
    ("domain: d\ndescriptors: [{key: ⟦gl*b}]", "P132"),
    ("domain: d\nname: ⟦!!str 5", "P008"),
    ("⟦%YAML 1.1\n---\ndomain: d", "P008"),
    ("domain: d # a zero width ⟦\u200bspace", "P004"),
    *[(one_rule("{unlimited: true}", f"    quota_mode: ⟦{value}"), "P129") for value in ("y", "On", "no")],
]


@pytest.mark.parametrize(("text", "code"), SURPRISES)
def test_surprise_of_the_go_loader_is_an_error_and_under_compat_a_warning_at_the_same_place(text, code):
    _, problems = read(text)
    assert [problem.code for problem in errors_of(problems)] == [code]
    assert places(errors_of(problems)) == marks(text)
    found, problems = read(text, options=COMPAT)
    assert errors_of(problems) == []
    assert [problem.code for problem in warnings_of(problems)] == [code]
    assert places(warnings_of(problems)) == marks(text)
    assert set(found.domains) == {"d"}


def test_under_compat_a_number_is_what_the_go_loader_makes_of_it():
    for spelling, number in (("010", 8), ("0x10", 16), ("0b11", 3), ("0o17", 15), ("1_0", 10), ("+5", 5), ("0", 0)):
        found = read_sound(one_rule(f"{{unit: day, requests_per_unit: {spelling}}}"), options=COMPAT)
        assert limit(found, "d", ("k", "v")).requests_per_unit == number


def test_missing_number_refuses_everything_under_compat():
    found = read_sound(one_rule("{unit: day}"), options=COMPAT)
    assert limit(found, "d", ("k", "v")).requests_per_unit == 0


@BOTH
@pytest.mark.parametrize("value", ["010", "0x1F", "1_000", "Yes", "2020-01-01", "12:30:45", "10.0.0.1", "a: b"])
def test_value_is_spelled_as_in_the_file(value, options):
    text = f"'{value}'" if ":" in value and " " in value else value
    found = read_sound(f"domain: 0742\ndescriptors: [{{key: 1_0, value: {text}}}]", options=options)
    assert find(found, "0742", ("1_0", value)) is not None


@BOTH
def test_unit_may_have_any_letter_case(options):
    for unit, seconds in (("SECOND", 1), ("Minute", 60), ("week", 604_800), ("mOnth", 2_592_000), ("YEAR", 31_536_000)):
        found = read_sound(one_rule(f"{{unit: {unit}, requests_per_unit: 1}}"), options=options)
        assert limit(found, "d", ("k", "v")).window_seconds == seconds


def test_key_twice_takes_the_last_one_and_limits_are_merged_under_compat():
    text = one_rule("{unit: day, requests_per_unit: 5, name: x}", "    rate_limit: {requests_per_unit: 7}\n")
    rule = limit(read_sound(text, options=COMPAT), "d", ("k", "v"))
    assert (rule.unit, rule.requests_per_unit, rule.name) == ("day", 7, "x")
    removed = one_rule("{unit: day, requests_per_unit: 5}", "    rate_limit: ~\n")
    assert limit(read_sound(removed, options=COMPAT), "d", ("k", "v")) is None


@BOTH
def test_anchors_and_merge_keys_are_read(options):
    text = """\
domain: d
descriptors:
  - key: a
    rate_limit: &base {unit: hour, requests_per_unit: 3}
  - key: b
    rate_limit:
      <<: *base
      requests_per_unit: 4
  - key: c
    rate_limit: *base
  - key: e
    rate_limit: {<<: [*base, {unit: day, name: second}]}
"""
    found = read_sound(text, options=options)
    assert limit(found, "d", ("b", "v")).requests_per_unit == 4
    assert limit(found, "d", ("c", "v")).unit == "hour"
    merged = limit(found, "d", ("e", "v"))
    assert (merged.unit, merged.name) == ("hour", "second")


def test_merge_key_behind_a_written_key_is_a_key_that_stands_twice():
    text = "domain: d\ndescriptors:\n  - &a {key: a}\n  - {key: b, ⟦<<: *a}"
    _, problems = read(text, options=COMPAT)
    assert [problem.code for problem in problems][:1] == ["P006"]
    _, problems = read(text)
    assert "P006" in [problem.code for problem in errors_of(problems)]


@BOTH
def test_byte_order_mark_windows_lines_and_json_are_read(options):
    assert set(read_sound(b"\xef\xbb\xbfdomain: d\r\ndescriptors: []\r\n", options=options).domains) == {"d"}
    text = '{"domain": "d", "descriptors": [{"key": "k", "rate_limit": {"unit": "day", "requests_per_unit": 5}}]}'
    assert limit(read_sound(text, options=options), "d", ("k", "v")).requests_per_unit == 5


def test_all_mistakes_of_all_files_are_told_in_one_run():
    first = (
        "domain: d\ndescriptors:\n  - key: a\n    rate_limit: {unit: ⟦foo, requests_per_unit: ⟦'1'}\n  - ⟦value: v\n"
    )
    second = "⟦extra: 1\ndomain: e\ndescriptors:\n  - {key: b, value: c, share_threshold: ⟦on}\n"
    _, problems = read(first, second)
    assert sorted(set(places(errors_of(problems)))) == marks(first, second)
    assert {problem.code for problem in problems} == {"P125", "P126", "P123", "P030", "P128", "P129"}


def test_one_domain_in_two_files_is_merged_on_demand_in_the_order_of_names():
    first = "domain: d\ndescriptors: [{key: a, value: 'x*'}]"
    second = "domain: ⟦d\ndescriptors: [{key: a, value: 'xy*'}, {key: b}]"
    _, problems = read(first, second)
    assert (errors_of(problems)[0].code, places(errors_of(problems))) == ("P121", [("b.yaml", 2 - 1, 9)])
    assert "duplicate domain 'd' in config file" in errors_of(problems)[0].message
    found = read_sound(first, second, options=DescriptorOptions(merges_domains=True))
    assert find(found, "d", ("a", "xyz")).place.file == "a.yaml"
    assert find(found, "d", ("b", "")).place.file == "b.yaml"
    assert found.domains["d"].files == ("a.yaml", "b.yaml")


def test_merged_files_may_not_hold_the_same_descriptor():
    text = "domain: d\ndescriptors: [⟦{key: a}]"
    _, problems = read(text, text, options=DescriptorOptions(merges_domains=True))
    assert [(problem.file, problem.line, problem.column, problem.code) for problem in problems] == [
        ("b.yaml", 2, 15, "P124")
    ]


def test_joined_text_is_ambiguous_under_compat_alone():
    text = "domain: d\ndescriptors: [{key: a, value: b_c, rate_limit: {unit: hour, requests_per_unit: 7}}]"
    assert find(read_sound(text), "d", ("a_b", "c")) is None
    assert find(read_sound(text, options=COMPAT), "d", ("a_b", "c")) is not None
    both = "domain: d\ndescriptors: [{key: a, value: b_c}, {key: a_b, value: c}]"
    assert find(read_sound(both), "d", ("a_b", "c")).key == "a_b"
    assert [problem.code for problem in read(both, options=COMPAT)[1]] == ["P124"]


@BOTH
def test_exact_value_beats_the_first_wildcard_beats_the_key_alone(options):
    text = "domain: d\ndescriptors: [{key: m}, {key: m, value: 'a*'}, {key: m, value: 'b*'}, {key: m, value: abc}]"
    found = read_sound(text, options=options)
    for value, expected in (("abc", "abc"), ("abd", "a*"), ("bb", "b*"), ("zz", ""), ("", "")):
        assert find(found, "d", ("m", value)).value == expected


def test_star_value_fits_another_key_under_compat_alone():
    text = "domain: d\ndescriptors: [{key: h, value: '*'}]"
    assert find(read_sound(text), "d", ("h_x", "v")) is None
    assert find(read_sound(text), "d", ("h", "")) is not None
    assert find(read_sound(text, options=COMPAT), "d", ("h_x", "v")) is not None
    star_in_key = "domain: d\ndescriptors: [{key: 'gl*b'}]"
    assert find(read_sound(star_in_key, options=COMPAT), "d", ("glo", "xb")) is not None


@BOTH
def test_descriptor_that_no_request_reaches_is_warned_of(options):
    text = "domain: d\ndescriptors: [{key: m, value: 'a*'}, ⟦{key: m, value: 'ab*c'}, {key: m, value: 'b*'}]"
    _, problems = read(text, options=options)
    assert [(problem.code, problem.severity) for problem in problems] == [("P131", "warning")]
    assert places(list(problems)) == marks(text)
    behind_a_star = "domain: d\ndescriptors: [⟦{key: m}, {key: m, value: '*'}]"
    _, problems = read(behind_a_star, options=options)
    assert places([problem for problem in problems if problem.code == "P131"]) == marks(behind_a_star)


@BOTH
def test_replacing_nobody_is_warned_of(options):
    text = one_rule("{unit: day, requests_per_unit: 1, replaces: [{name: dayly}]}").replace("- key", "- ⟦key")
    more = "  - {key: l, rate_limit: {unit: day, requests_per_unit: 1, name: daily}}\n"
    _, problems = read(text + more, options=options)
    assert [(problem.code, problem.severity) for problem in problems] == [("P134", "warning")]
    assert "did you mean 'daily'?" in problems[0].message
    assert places(list(problems)) == marks(text)


@BOTH
def test_everything_a_rule_may_say_is_kept(options):
    text = """\
domain: d
descriptors:
  - key: path
    value: /files/*
    share_threshold: true
    value_to_metric: true
    descriptors:
      - key: user
        shadow_mode: true
        quota_mode: true
        detailed_metric: true
        metadata: {svc: {name: one, tags: [x, 2, 2.5, yes, ~]}}
        rate_limit: {unit: hour, requests_per_unit: 9, name: per_user, replaces: [{name: total}]}
  - {key: total, rate_limit: {unit: day, requests_per_unit: 90, name: total}}
  - {key: free, rate_limit: {unlimited: true, replaces: [{name: total}]}}
"""
    found = read_sound(text, options=options)
    level = find(found, "d", ("path", "/files/a"))
    assert (level.shared_value, level.has_value_metric, level.limit) == ("/files/*", True, None)
    rule = limit(found, "d", ("path", "/files/a"), ("user", "u"))
    assert rule.id == "d.path_/files/*.user"
    assert str(rule.place) == "a.yaml:13:21"
    assert (rule.requests_per_unit, rule.unit, rule.name, rule.replaces) == (
        9,
        "hour",
        "per_user",
        frozenset({"total"}),
    )
    assert rule.is_shadow
    assert rule.is_quota
    assert rule.has_detailed_metric
    assert rule.metadata == {"svc": {"name": "one", "tags": ("x", 2, 2.5, True, None)}}
    free = limit(found, "d", ("free", ""))
    assert (free.is_unlimited, free.unit, free.window_seconds) == (True, None, 0)


def test_file_as_a_gateway_writes_it_is_read_without_a_word():
    text = """\
name: default/edge/http
domain: default/edge/http
descriptors:
- key: default/route/0
  value: default/route/0
  rate_limit: null
  descriptors:
  - key: rule-0-match-0
    value: rule-0-match-0
    rate_limit: null
    descriptors:
    - key: rule-0-match-1
      value: ""
      rate_limit: {requests_per_unit: 3, unit: HOUR, unlimited: false, name: "", replaces: []}
      descriptors: []
      shadow_mode: false
      detailed_metric: false
      quota_mode: false
      value_to_metric: false
      share_threshold: false
  shadow_mode: false
"""
    found, problems = read(text)
    assert problems == ()
    path = [("default/route/0", "default/route/0"), ("rule-0-match-0", "rule-0-match-0"), ("rule-0-match-1", "me")]
    assert limit(found, "default/edge/http", *path).requests_per_unit == 3


@BOTH
def test_bounds_hold_against_aliases_that_multiply(options):
    lines = ["domain: d", "name: n", "descriptors:", "  - &a0 {key: a, value: b}"]
    lines += [
        f"  - &a{n} {{key: k{n}, descriptors: [{', '.join(f'{{<<: *a{n - 1}, key: x{i}}}' for i in range(9))}]}}"
        for n in range(1, 12)
    ]
    _, problems = read("\n".join(lines), options=options)
    assert "P136" in {problem.code for problem in problems}


@BOTH
def test_depth_is_bounded(options):
    deep = "domain: d\ndescriptors: " + "[{key: a, descriptors: " * 60 + "[]" + "}]" * 60
    assert [problem.code for problem in errors_of(read(deep, options=options)[1])] == ["P010"]
    chain = "domain: d\ndescriptors:\n  - &a0 {key: a, value: v0}\n"
    chain += "".join(f"  - &a{n} {{key: a, value: v{n}, descriptors: [*a{n - 1}]}}\n" for n in range(1, 60))
    assert "P010" in {problem.code for problem in errors_of(read(chain, options=options)[1])}
    meta = "domain: d\ndescriptors:\n  - key: a\n    metadata:\n      m0: &m0 {}\n"
    meta += "".join(f"      m{n}: &m{n} {{x: *m{n - 1}}}\n" for n in range(1, 150))
    assert "P010" in {problem.code for problem in errors_of(read(meta, options=options)[1])}


@BOTH
def test_unreadable_bytes_are_told_with_a_place(options):
    _, problems = read(b"domain: d\nname: \xff", options=options)
    assert [(problem.code, problem.line, problem.column) for problem in problems] == [("P003", 2, 7)]
    _, problems = read(b"#" * (1024 * 1024 + 1), options=options)
    assert [problem.code for problem in problems] == ["P002"]


def test_every_code_of_descriptor_files_is_tested_here_or_with_the_directory():
    tested = {code for _, code, *_ in REFUSED} | {code for _, code in SURPRISES}
    assert set(DESCRIPTORS) - tested == {"P121", "P131", "P134", "P136", "P137", "P138"}


CORPUS = sorted((Path(__file__).parent / "descriptor_corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_realistic_file_is_read_under_compat_and_its_surprises_are_errors_without(path):
    text = path.read_text("utf-8")
    expected = text.partition("\n")[0].removeprefix("# expect: ").replace("OK", "")
    _, problems = read(text)
    said = [f"{problem.line}:{problem.column} {problem.code}" for problem in errors_of(problems)]
    assert ", ".join(said) == expected
    assert errors_of(read(text, options=COMPAT)[1]) == []
