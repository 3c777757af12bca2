"""Diagnostic codes of descriptor files; `codes` puts them beside the others."""

from __future__ import annotations

from typing import Final

from policy.code_spec import CodeSpec

DESCRIPTORS: Final = {
    "P120": CodeSpec(
        "a descriptor file without domain",
        '`descriptors:` alone, `domain: ""`',
        "`domain: edge`, the name that Envoy's filter sends",
        "No request could ever ask for its rules.",
    ),
    "P121": CodeSpec(
        "two descriptor files of one domain",
        "`domain: edge` in two files",
        "one file a domain, or `--merge-domains` where several teams write one domain",
        "A second file would quietly add to what was reviewed as the whole.",
    ),
    "P122": CodeSpec(
        "a descriptor file that names the domain of quotas",
        "`domain: tollhouse`",
        "any other name; quotas.yaml says what holds in the domain `tollhouse`",
        "In that domain nothing passes by omission, in descriptor files everything does.",
    ),
    "P123": CodeSpec(
        "a descriptor without key",
        "`- value: eu`",
        "`- key: region` with `value: eu` below",
        "Each entry of a request is looked up by its key.",
    ),
    "P124": CodeSpec(
        "two descriptors that no request can tell apart",
        "`key: a` with `value: b` twice in one list",
        "one of them",
        "Only one of two limits could hold, and nobody could say which.",
    ),
    "P125": CodeSpec(
        "a unit that does not exist, or one that an unlimited rule has",
        "`unit: fortnight`, `unlimited: true` with `unit: day`",
        "`unit: second`, minute, hour, day, week, month or year, in any letter case; none when unlimited",
        "A limit without a window counts nothing.",
    ),
    "P126": CodeSpec(
        "requests_per_unit is missing or no number",
        "`rate_limit: {unit: day}`, `requests_per_unit: '5'`, `requests_per_unit: 4294967296`",
        "`requests_per_unit: 5`; 0 to refuse every request on purpose",
        "Left out it is 0 for envoyproxy/ratelimit: every request is refused. So it is under compat, with a warning.",
    ),
    "P127": CodeSpec(
        "replaces names nothing, or the rule itself",
        "`replaces: [{name: me}]` in the rule `name: me`",
        "the name of another rule",
        "A rule that drops itself limits nothing.",
    ),
    "P128": CodeSpec(
        "share_threshold without a wildcard",
        "`share_threshold: true` with `value: files`",
        "`value: files/*`",
        "There are no several values that could share a counter.",
    ),
    "P129": CodeSpec(
        "a number or truth value that people read in two ways",
        "`requests_per_unit: 010`, which is 8; `shadow_mode: y`",
        "`requests_per_unit: 8`, `shadow_mode: true`",
        "A limit must be what its reader thinks it is. Under compat it is read as the Go loader does, with a warning.",
    ),
    "P130": CodeSpec(
        "a known key in the wrong place",
        "`shadow_mode: true` inside `rate_limit`, `unit: day` beside `key`",
        "`shadow_mode` beside `key`, `unit` inside `rate_limit`",
        "envoyproxy/ratelimit ignores it there: a shadow rule would refuse. Ignored under compat, with a warning.",
    ),
    "P131": CodeSpec(
        "a descriptor that no request reaches (warning)",
        "`value: ab*` after `value: a*` in one list",
        "the narrower pattern first",
        "The first wildcard that fits counts, so the later one never does.",
    ),
    "P132": CodeSpec(
        "a `*` in a key",
        "`key: gl*b`",
        "the key as Envoy sends it; `*` in the value",
        "It is matched against key and value joined by `_`, so another key could reach the rule. Read under compat.",
    ),
    "P133": CodeSpec(
        "a key of a descriptor with nothing behind it",
        "`value:`",
        "a value; or no key `value`, for every value",
        "A forgotten value makes a rule for one caller a rule for everyone. Accepted under compat, with a warning.",
    ),
    "P134": CodeSpec(
        "replaces a limit that does not exist (warning)",
        "`replaces: [{name: dayly}]` while the rule is `daily`",
        "the name of a rule of the same domain",
        "Both limits would hold where one was meant to replace the other.",
    ),
    "P135": CodeSpec(
        "a fractional or too large number where text is meant",
        "`value: 1.5`, `value: 08`",
        '`value: "1.5"`',
        "envoyproxy/ratelimit refuses such a file, and with quotes everybody reads the same text.",
    ),
    "P136": CodeSpec(
        "descriptor files that unfold beyond every bound",
        "anchors whose aliases hold further aliases, many times over",
        "the rules, written out",
        "A few lines could fill the memory.",
    ),
    "P137": CodeSpec(
        "something in a descriptor directory that is no descriptor file",
        "`README.md` or `limits.yaml.bak` beside limits.yaml; no file at all",
        "only `*.yaml` and `*.yml` there; at least one",
        "A renamed file would silently take its limits along. Under compat every file is read, and none is a warning.",
    ),
    "P138": CodeSpec(
        "descriptor files in two places",
        "`descriptors/edge.yaml` in the manifest and `--descriptors DIR`",
        "one of the two",
        "What holds in a domain must stand in one place.",
    ),
}
"""By code."""
