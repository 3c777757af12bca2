"""What lies in the directory: exactly the listed files, nothing from outside, and Kubernetes' links."""

from __future__ import annotations

import os

import pytest

from helpers.policy_sets import SMALL_SET, write_set
from policy.diagnostics import PolicyInvalid
from policy.directory import MAX_FILES
from policy.loader import hash_policy_files, load_policy_set
from policy.reader import MAX_FILE_BYTES


def problems_of(root) -> list[tuple[str, str]]:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_set(root)
    return [(problem.file, problem.code) for problem in caught.value.problems]


def test_directory_that_is_not_there_is_one_problem(tmp_path):
    assert problems_of(tmp_path / "absent") == [(".", "P001")]


def test_file_in_place_of_a_directory_is_one_problem(tmp_path):
    (tmp_path / "file").write_text("x")
    assert problems_of(tmp_path / "file") == [(".", "P001")]


def test_empty_directory_lacks_the_manifest(tmp_path):
    assert problems_of(tmp_path) == [("tollhouse.yaml", "P020")]


def test_editor_backup_is_not_listed(tmp_path):
    write_set(tmp_path)
    (tmp_path / "risk.yaml~").write_text("rules: []\n")
    assert problems_of(tmp_path) == [("risk.yaml~", "P022")]


def test_file_in_a_folder_of_its_own_is_not_listed(tmp_path):
    write_set(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "risk.yaml").write_text("rules: []\n")
    assert problems_of(tmp_path) == [("old/risk.yaml", "P022")]


def test_folder_in_a_folder_is_a_problem(tmp_path):
    write_set(tmp_path)
    (tmp_path / "profiles" / "more").mkdir()
    assert problems_of(tmp_path) == [("profiles/more", "P001")]


@pytest.mark.parametrize("name", ["providers", "routes", "merchants", "quotas", "risk"])
def test_set_without_a_required_file_is_invalid(tmp_path, name):
    write_set(tmp_path, ("tollhouse.yaml", f"  - {name}.yaml\n", ""), without=f"{name}.yaml")
    assert ("tollhouse.yaml", "P025") in problems_of(tmp_path)


def test_deleted_quotas_are_noticed(tmp_path):
    assert ("tollhouse.yaml", "P021") in problems_of(write_set(tmp_path, without="quotas.yaml"))


def test_listed_named_pipe_is_a_problem_and_does_not_hold_the_loader_up(tmp_path):
    write_set(tmp_path, without="risk.yaml")
    os.mkfifo(tmp_path / "risk.yaml")
    assert problems_of(tmp_path) == [("risk.yaml", "P001")]


def test_broken_link_is_a_problem(tmp_path):
    write_set(tmp_path, without="risk.yaml")
    (tmp_path / "risk.yaml").symlink_to("nowhere.yaml")
    assert problems_of(tmp_path) == [("risk.yaml", "P001")]


def test_loop_of_links_is_a_problem(tmp_path):
    write_set(tmp_path, without="risk.yaml")
    (tmp_path / "risk.yaml").symlink_to("risk.yaml")
    assert problems_of(tmp_path) == [("risk.yaml", "P001")]


def test_link_that_leaves_the_directory_is_a_problem(tmp_path):
    root = write_set(tmp_path / "set", without="risk.yaml")
    (tmp_path / "risk.yaml").write_text(SMALL_SET["risk.yaml"])
    (root / "risk.yaml").symlink_to("../risk.yaml")
    assert problems_of(root) == [("risk.yaml", "P026")]


def test_folder_link_that_leaves_the_directory_is_a_problem(tmp_path):
    root = write_set(tmp_path / "set", without="profiles/plain.yaml")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "plain.yaml").write_text(SMALL_SET["profiles/plain.yaml"])
    (root / "profiles").symlink_to("../profiles")
    assert ("profiles", "P026") in problems_of(root)


def test_file_name_that_cannot_be_printed_is_a_problem(tmp_path):
    write_set(tmp_path)
    with open(os.fsencode(tmp_path) + b"/\xff\n.yaml", "w"):
        pass
    assert problems_of(tmp_path) == [("\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.yaml", "P023")]


def test_oversize_file_is_a_problem(tmp_path):
    write_set(tmp_path, ("risk.yaml", "rules:", "#" + "x" * MAX_FILE_BYTES + "\nrules:"))
    assert problems_of(tmp_path) == [("risk.yaml", "P002")]


def test_other_encoding_is_a_problem(tmp_path):
    write_set(tmp_path)
    (tmp_path / "risk.yaml").write_bytes(SMALL_SET["risk.yaml"].encode("utf-16"))
    assert problems_of(tmp_path) == [("risk.yaml", "P003")]


def test_too_many_files_are_a_problem(tmp_path):
    write_set(tmp_path)
    for number in range(MAX_FILES):
        (tmp_path / f"x{number}").touch()
    assert "P027" in {code for _, code in problems_of(tmp_path)}


def mount_like_kubernetes(root, name):
    """Lay the set out as the kubelet mounts a ConfigMap: real files in a hidden folder, links on top."""
    write_set(root / name)
    (root / "..data_tmp").symlink_to(name)
    (root / "..data_tmp").rename(root / "..data")
    for entry in ("profiles", *(file for file in SMALL_SET if "/" not in file)):
        if not (root / entry).exists():
            (root / entry).symlink_to(f"..data/{entry}")
    return root


def test_config_map_mount_loads_as_the_same_revision(tmp_path):
    mounted = mount_like_kubernetes(tmp_path / "mounted", "..2026_11_24")
    plain = write_set(tmp_path / "plain")
    assert load_policy_set(mounted).revision == load_policy_set(plain).revision


def test_config_map_swap_changes_the_hash(tmp_path):
    mounted = mount_like_kubernetes(tmp_path, "..2026_11_24")
    before = hash_policy_files(mounted)
    mount_like_kubernetes(tmp_path, "..2026_11_25")
    assert hash_policy_files(mounted) == before
    path = tmp_path / "..2026_11_25" / "risk.yaml"
    path.write_text(path.read_text() + "# changed\n")
    assert hash_policy_files(mounted) != before


def test_revision_is_the_hash_of_the_files_and_sixteen_hex_digits(tmp_path):
    policy = load_policy_set(write_set(tmp_path))
    assert policy.revision == hash_policy_files(tmp_path)
    assert len(bytes.fromhex(policy.revision)) == 8


def test_hash_notices_an_unlisted_file_and_a_missing_directory(tmp_path):
    before = hash_policy_files(write_set(tmp_path / "set"))
    (tmp_path / "set" / "new.yaml").touch()
    assert len({before, hash_policy_files(tmp_path / "set"), hash_policy_files(tmp_path / "absent")}) == 3
