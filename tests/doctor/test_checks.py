"""Findings name the machine to look at, and say what to do wherever not all is well."""

from __future__ import annotations

from dataclasses import replace

from vicc_ray.doctor import checks
from vicc_ray.doctor.checks import Check
from vicc_ray.doctor.node_info import GpuInfo, NodeInfo, collect_node_info

GIB = 2**30
GPU = GpuInfo(("L4",), "595.71.05", 1)
FIRST = NodeInfo("first", {"python": "3.12.3", "ray": "2.60.0"}, GPU, 50 * GIB, 20 * GIB, "token")
SECOND = replace(FIRST, name="second")


def _is_told(check: Check, mark: str, *parts: str) -> None:
    assert check.mark == mark
    assert bool(check.advice) == (mark != "ok")
    for part in parts:
        assert part in check.finding


def test_identical_nodes_pass() -> None:
    both = [FIRST, SECOND]
    for check in (
        checks.check_versions,
        checks.check_token,
        checks.check_gpus,
        checks.check_disk,
        checks.check_memory,
    ):
        _is_told(check(both), "ok")
    _is_told(checks.check_clocks({"first": 0.001, "second": -0.002}), "ok")
    _is_told(checks.check_folder("/shared", {"first": "", "second": ""}, {"first": [], "second": []}), "ok")
    _is_told(checks.check_store("/shared/store", {"first": "", "second": ""}), "ok", "2 machines")


def test_a_node_that_cannot_write_is_named_with_the_reason() -> None:
    check = checks.check_folder(
        "/shared", {"first": "", "second": "Read-only file system"}, {"first": [], "second": []}
    )
    _is_told(check, "FAIL", "/shared", "second (Read-only file system)")
    assert "first" not in check.finding


def test_a_node_with_a_different_folder_is_named_with_what_it_misses() -> None:
    check = checks.check_folder("/shared", {"first": "", "second": ""}, {"first": ["second"], "second": ["first"]})
    _is_told(check, "FAIL", "first (does not see what second wrote)", "second (does not see what first wrote)")


def test_a_store_that_one_node_cannot_open_is_reported() -> None:
    _is_told(checks.check_store("store", {"first": "", "second": "there is none"}), "FAIL", "second (there is none)")


def test_each_differing_version_is_reported_with_its_nodes() -> None:
    other = replace(SECOND, versions={"python": "3.12.3", "ray": "2.59.0"})
    check = checks.check_versions([FIRST, other])
    _is_told(check, "FAIL", "ray 2.60.0 on first, 2.59.0 on second")
    assert "python" not in check.finding


def test_gpus_that_torch_cannot_use_are_reported() -> None:
    old = replace(SECOND, gpus=GpuInfo(("L4", "L4"), "550.54", 0, "the driver is too old"))
    _is_told(checks.check_gpus([FIRST, old]), "FAIL", "second (the driver is too old)")
    half = replace(SECOND, gpus=GpuInfo(("L4", "L4"), "595.71.05", 1))
    _is_told(checks.check_gpus([FIRST, half]), "FAIL", "second (1 of 2 usable)")


def test_a_node_without_gpus_passes_for_decoding() -> None:
    _is_told(checks.check_gpus([FIRST, replace(SECOND, gpus=GpuInfo())]), "ok", "first (1 x L4)", "595.71.05")
    _is_told(checks.check_gpus([replace(FIRST, gpus=GpuInfo())]), "warn")


def test_clocks_are_compared_between_nodes_and_not_with_the_caller() -> None:
    _is_told(checks.check_clocks({"first": 100.0, "second": 100.2}), "ok")
    _is_told(checks.check_clocks({"first": -0.5, "second": 3.0}), "warn", "second is 3.5 s ahead of first")


def test_low_disk_and_low_memory_are_reported() -> None:
    _is_told(checks.check_disk([FIRST, replace(SECOND, free_disk=GIB)]), "warn", "second (1.0 GiB)")
    _is_told(checks.check_memory([replace(FIRST, free_memory=GIB), SECOND]), "warn", "first (1.0 GiB)")


def test_a_missing_token_is_more_severe_with_several_nodes() -> None:
    without = replace(FIRST, auth="disabled")
    _is_told(checks.check_token([without]), "warn", "first")
    _is_told(checks.check_token([without, SECOND]), "FAIL", "first")


def test_many_nodes_are_counted_instead_of_listed() -> None:
    many = [replace(FIRST, name=f"m{number}", free_disk=0) for number in range(9)]
    _is_told(checks.check_disk(many), "warn", "m4", "and 4 more")


def test_the_local_node_reports_its_info() -> None:
    machine = collect_node_info("here")
    assert machine.name == "here"
    assert set(machine.versions) == {"python", "ray", "torch", "vicc-ray"}
    assert "missing" not in machine.versions.values()
    assert machine.free_disk > 0 and machine.free_memory > 0
    assert machine.gpus.usable <= len(machine.gpus.names)
