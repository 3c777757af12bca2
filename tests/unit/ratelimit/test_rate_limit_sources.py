"""Where rules come from: a policy set, descriptor files, or both with each domain in one place."""

from __future__ import annotations

import pytest

from chassis.clock import SystemClock
from chassis.metrics import ServiceMetrics
from chassis.reload import LoadFailed
from helpers.policy_sets import write_set
from policy.settings import ServiceSettings
from ratelimit.sources import Sources, open_sources

EDGE = "domain: edge\ndescriptors: [{key: user, rate_limit: {unit: minute, requests_per_unit: 010}}]\n"
LISTED = ("tollhouse.yaml", "  - risk.yaml\n", "  - risk.yaml\n  - descriptors/edge.yaml\n")


def sources(**settings) -> Sources:
    return open_sources(ServiceSettings(**settings), ServiceMetrics("ratelimit", []), SystemClock())


def write_descriptors(root, text: str = EDGE):
    (root / "descriptors").mkdir(exist_ok=True)
    (root / "descriptors" / "edge.yaml").write_text(text, "utf-8")
    return str(root / "descriptors")


def test_descriptor_files_alone_need_no_policy_set(tmp_path):
    found = sources(policies="", descriptors=write_descriptors(tmp_path), descriptors_compat="envoyproxy")
    assert found.descriptor_set() is None
    found.first.load_initial()
    assert (found.tables(), found.others) == (None, {})
    assert set(found.descriptor_set().domains) == {"edge"}


def test_without_compat_what_is_ambiguous_is_refused_at_start(tmp_path):
    with pytest.raises(LoadFailed, match=r"edge\.yaml:2:73: P129"):
        sources(policies="", descriptors=write_descriptors(tmp_path)).first.load_initial()


def test_both_serve_beside_each_other(tmp_path):
    policies, files = tmp_path / "policies", tmp_path / "files"
    policies.mkdir()
    files.mkdir()
    directory = write_descriptors(files, EDGE.replace("010", "8"))
    found = sources(policies=str(write_set(policies)), descriptors=directory)
    assert found.tables() is None
    for reloader in (found.first, *found.others.values()):
        reloader.load_initial()
    assert set(found.others) == {"descriptors"}
    assert found.tables() is not None
    assert set(found.descriptor_set().domains) == {"edge"}


def test_descriptor_files_in_the_policy_set_and_in_a_directory_are_refused(tmp_path):
    directory = write_descriptors(tmp_path, EDGE.replace("010", "8"))
    policies = str(write_set(tmp_path, LISTED))
    found = sources(policies=policies)
    found.first.load_initial()
    assert set(found.descriptor_set().domains) == {"edge"}
    with pytest.raises(LoadFailed, match="P138"):
        sources(policies=policies, descriptors=directory).first.load_initial()


def test_no_source_at_all_is_refused():
    with pytest.raises(ValueError, match="neither"):
        _ = sources(policies="").first
