"""A directory of descriptor files, alone or in a policy set: what is read of it, and what a reload does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.metrics import ServiceMetrics
from helpers.descriptor_files import COMPAT, DEFAULT, find, limit, read_sound
from helpers.policy_sets import write_set
from helpers.waiting import until
from policy.descriptors.changes import loosened
from policy.descriptors.live import live_descriptors, load_descriptors
from policy.descriptors.reader import DescriptorOptions
from policy.diagnostics import PolicyInvalid
from policy.loader import load_policy_set

EDGE = "domain: edge\ndescriptors: [{key: user, rate_limit: {unit: minute, requests_per_unit: 5}}]\n"


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.yaml").write_text(text, "utf-8")
    return root


def codes(root: Path, options: DescriptorOptions = DEFAULT) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        load_descriptors(root, options)
    return [problem.code for problem in caught.value.problems]


def test_every_file_of_the_directory_and_its_folders_is_read(tmp_path):
    write(tmp_path, edge=EDGE)
    write(tmp_path / "more", inner=EDGE.replace("edge", "inner"))
    found = load_descriptors(tmp_path, DEFAULT).descriptors
    assert set(found.domains) == {"edge", "inner"}
    assert limit(found, "inner", ("user", "u")).place.file == "more/inner.yaml"


def test_mounted_config_map_is_read_once(tmp_path):
    write(tmp_path / "..2026_11_25", edge=EDGE)
    os.symlink("..2026_11_25", tmp_path / "..data")
    os.symlink("..data/edge.yaml", tmp_path / "edge.yaml")
    assert load_descriptors(tmp_path, DEFAULT).descriptors.domains["edge"].files == ("edge.yaml",)


def test_other_files_are_a_mistake_and_under_compat_read_whatever_they_are_called(tmp_path):
    write(tmp_path, edge=EDGE)
    (tmp_path / "limits.bak").write_text(EDGE.replace("edge", "other"), "utf-8")
    assert codes(tmp_path) == ["P137"]
    assert set(load_descriptors(tmp_path, COMPAT).descriptors.domains) == {"edge", "other"}


def test_empty_directory_is_no_set_without_limits(tmp_path):
    assert codes(tmp_path) == ["P137"]
    loaded = load_descriptors(tmp_path, COMPAT)
    assert loaded.descriptors.domains == {}
    assert [problem.code for problem in loaded.warnings] == ["P137"]


@pytest.mark.parametrize("options", [DEFAULT, COMPAT])
def test_directory_that_is_away_is_an_error(tmp_path, options):
    assert codes(tmp_path / "gone", options) == ["P001"]


def test_revision_follows_the_contents(tmp_path):
    first = load_descriptors(write(tmp_path, edge=EDGE), DEFAULT).descriptors.revision
    assert load_descriptors(tmp_path, DEFAULT).descriptors.revision == first
    assert load_descriptors(write(tmp_path, edge=EDGE.replace("5", "6")), DEFAULT).descriptors.revision != first


async def test_broken_reload_keeps_the_last_good_set_and_says_so(tmp_path):
    write(tmp_path, edge=EDGE)
    metrics = ServiceMetrics("ratelimit", [])
    reloader = live_descriptors(tmp_path, DEFAULT, metrics, SystemClock())
    reloader.load_initial()
    await reloader.start()
    try:
        write(tmp_path, edge=EDGE.replace("minute", "fortnight"))
        await until(lambda: reloader.status()["failed_reloads"])
        assert "invalid rate limit unit 'fortnight'" in reloader.status()["last_error"]
        assert limit(reloader.current, "edge", ("user", "u")).requests_per_unit == 5
        assert stale(metrics) == 1
        metrics.policy_loaded("0" * 16, 0.0)  # another source's success does not hide it
        assert stale(metrics) == 1
        write(tmp_path, edge=EDGE.replace("5", "7"))
        await until(lambda: reloader.status()["reloads"])
        assert limit(reloader.current, "edge", ("user", "u")).requests_per_unit == 7
        assert stale(metrics) == 0
    finally:
        await reloader.stop()


def stale(metrics: ServiceMetrics) -> float | None:
    return metrics.registry.get_sample_value("tollhouse_policy_stale", {"service": "ratelimit"})


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("rate_limit: {unit: minute, requests_per_unit: 6}", "goes from 5 a minute to 6 a minute"),
        ("rate_limit: {unit: second, requests_per_unit: 1}", "goes from 5 a minute to 1 a second"),
        ("rate_limit: {unlimited: true}", "is unlimited now"),
        ("shadow_mode: false", "has no limit any more"),
        ("rate_limit: {unit: minute, requests_per_unit: 5}, shadow_mode: true", "it is in shadow mode"),
        ("rate_limit: {unit: minute, requests_per_unit: 5}, quota_mode: true", "together with other quotas"),
        ("rate_limit: {unit: hour, requests_per_unit: 5}", ""),
        ("rate_limit: {unit: minute, requests_per_unit: 4}", ""),
    ],
)
def test_what_a_change_loosens_is_said(after, said):
    before = "rate_limit: {unit: minute, requests_per_unit: 5}"
    sentences = loosened(read_sound(EDGE), read_sound(EDGE.replace(before, after)))
    assert len(sentences) == bool(said)
    assert said in "".join(sentences)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("{key: user, value: vip}", ["'edge.user_vip' has no limit any more"]),
        ("{key: user, value: 'v*', rate_limit: {unlimited: true}}", ["'edge.user_v*' is unlimited now"]),
        (
            "{key: user, value: vip, rate_limit: {unit: minute, requests_per_unit: 9}}",
            ["'edge.user_vip' goes from 5 a minute to 9 a minute"],
        ),
        ("{key: user, value: vip, rate_limit: {unit: minute, requests_per_unit: 1}}", []),
        ("{key: other}", []),
    ],
)
@pytest.mark.parametrize("options", [DEFAULT, COMPAT])
def test_exemption_beside_a_limit_is_said(more, said, options):
    after = EDGE.replace("}}]", f"}}}}, {more}]")
    assert loosened(read_sound(EDGE, options=options), read_sound(after, options=options)) == said


def test_large_sets_are_compared_rule_by_rule():
    many = ", ".join(f"{{key: k{number}, rate_limit: {{unit: day, requests_per_unit: 5}}}}" for number in range(1200))
    before = f"domain: d\ndescriptors: [{many}]"
    after = before.replace("k7, rate_limit: {unit: day, requests_per_unit: 5}", "k7, rate_limit: {unlimited: true}")
    assert loosened(read_sound(before), read_sound(after)) == ["'d.k7' is unlimited now"]


LISTED = ("tollhouse.yaml", "  - risk.yaml\n", "  - risk.yaml\n  - descriptors/edge.yaml\n")


def test_policy_set_may_list_descriptor_files(tmp_path):
    write(tmp_path / "descriptors", edge=EDGE)
    policy = load_policy_set(write_set(tmp_path, LISTED))
    assert find(policy.descriptors, "edge", ("user", "u")) is not None
    assert policy.descriptors.revision == policy.revision


def test_policy_set_without_descriptor_files_has_none(tmp_path):
    assert load_policy_set(write_set(tmp_path)).descriptors is None


def test_descriptor_file_that_is_not_listed_or_broken_keeps_the_set_from_loading(tmp_path):
    write(tmp_path / "descriptors", edge=EDGE)
    for changes, code in ([], "P022"), ([LISTED], "P125"):
        if changes:
            write(tmp_path / "descriptors", edge=EDGE.replace("minute", "fortnight"))
        with pytest.raises(PolicyInvalid) as caught:
            load_policy_set(write_set(tmp_path, *changes))
        assert [(problem.file, problem.code) for problem in caught.value.problems] == [("descriptors/edge.yaml", code)]


def test_manifest_says_how_descriptor_files_are_read(tmp_path):
    write(tmp_path / "descriptors", edge=EDGE.replace("5", "010"))
    reading = (*LISTED[:2], f"{LISTED[2]}descriptors: {{compat: envoyproxy}}\n")
    policy = load_policy_set(write_set(tmp_path, reading))
    assert policy.descriptors.is_compat
    assert [problem.code for problem in policy.warnings] == ["P129"]
    with pytest.raises(PolicyInvalid):
        load_policy_set(write_set(tmp_path, LISTED))
