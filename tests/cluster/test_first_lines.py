"""Head comments of the launch files state cost, values to fill in and commands; no file holds a secret."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.cluster.files import FOLDER, KUBERAY, LAUNCHED, entries, load, path_of

ALL = (*LAUNCHED, *KUBERAY)
SECRET = re.compile(r"password|secret|credential|api_?key|access_?key|_token$|token_value", re.IGNORECASE)


def _first_lines(name: str) -> str:
    text = path_of(name).read_text()
    return re.split(r"^(?=[^#])", text, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", ALL)
def test_head_comment_states_a_dated_cost(name: str) -> None:
    cost = re.search(r"^# Cost: (.*?)^# Fill in:", _first_lines(name), re.MULTILINE | re.DOTALL)
    assert cost
    assert re.search(r"20\d\d-\d\d-\d\d", cost[1])
    assert re.search(r"\d\.\d\d", cost[1]) or name == "onprem"


@pytest.mark.parametrize("name", ALL)
def test_up_submit_and_down_commands_name_the_file(name: str) -> None:
    lines = _first_lines(name)
    here = path_of(name).relative_to(FOLDER.parent).as_posix()
    commands = dict(re.findall(r"^# (Up|Submit|Down): +(.*)", lines, re.MULTILINE))
    up, submit, down = (commands[step] for step in ("Up", "Submit", "Down"))
    assert up.endswith(here) and down.endswith(here)
    assert "vicc-ray submit" in lines and submit


@pytest.mark.parametrize("name", ALL)
def test_values_to_fill_in_are_in_one_block(name: str) -> None:
    text, content = path_of(name).read_text(), load(name)
    there = content["metadata"]["fill_in"] if name in LAUNCHED else content["metadata"]["annotations"]
    key = "fill_in:" if name in LAUNCHED else "annotations:"
    block = re.search(rf"^( *){key}.*\n((?:\1 +.*\n)+)", text, re.MULTILINE)
    assert block and 2 <= len(there) <= 5
    rest = text.replace(block[2], "")
    assert "FILL-IN" not in rest and "192.0.2." not in rest
    anchors = set(re.findall(r"&(\w+)", block[2]))
    assert len(anchors) == len(there)
    assert anchors == anchors & set(re.findall(r"\*(\w+)", rest)), "every value is used"


@pytest.mark.parametrize("name", ALL)
def test_anchors_are_resolved_and_no_value_looks_like_a_secret(name: str) -> None:
    for path, value in entries(load(name)):
        assert "<<" not in path
        if isinstance(value, str):
            assert not value.startswith(("*", "&"))
            assert not SECRET.search(path.rsplit("/", 1)[-1]) or value.startswith("~/"), path
            assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|[0-9a-f]{40}", value), path


def test_shared_storage_file_states_a_dated_cost_and_its_access() -> None:
    lines = (FOLDER / "kuberay" / "shared.yaml").read_text()
    claim, policy, _ = yaml.safe_load_all(lines)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert re.search(r"20\d\d-\d\d-\d\d", lines) and "FILL-IN" in claim["spec"]["storageClassName"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
