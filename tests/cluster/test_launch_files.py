"""What ``ray up`` would do with the launch files, as far as it can be told without a cloud.

Google's and Azure's kits are not installed for tests, and their bootstrap asks the cloud first of all (for the project,
for the subscription): of them Ray's own validation is run, and Azure's parameters are compared with Ray's template.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler._private as autoscaler
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.files import CLOUDS, FOLDER, LAUNCHED, entries, load


def _starts(config: dict[str, Any]) -> list[str]:
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    return [command for command in commands if "ray start" in command]


def _is_spot(node_config: dict[str, Any]) -> bool:
    found = dict(entries(node_config))
    return bool({"spot", "Spot", "SPOT"} & {value for value in found.values() if isinstance(value, str)})


@pytest.mark.parametrize("name", LAUNCHED)
def test_launch_files_pass_ray_validation(name: str) -> None:
    validate_config(prepare_config(load(name)))


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_rejects_a_misspelled_key(name: str) -> None:
    with pytest.raises(Exception, match="idle_timeout_minuts"):
        validate_config(prepare_config({**load(name), "idle_timeout_minuts": 5}))


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_head_has_no_cpus(name: str) -> None:
    config = load(name)
    assert "--num-cpus=0" in _starts(config)[0]
    if name in CLOUDS:
        assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_on_premises_workers_exit_with_the_head() -> None:
    # `ray down` reaches the head alone, and no cloud ends them: without --block log_monitor.py would stay for ever.
    _, worker = _starts(load("onprem"))
    assert re.search(r"setsid ray start --block .*&$", worker)


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_node_requires_the_token_and_the_dashboard_is_local(name: str) -> None:
    config = load(name)
    head, worker = _starts(config)
    for start in (head, worker):
        assert re.search(r"\bRAY_AUTH_MODE=token [^;]*ray start", start)
    assert "--head" in head and "--dashboard-host=127.0.0.1" in head
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in command for command in config["setup_commands"])


@pytest.mark.parametrize("name", LAUNCHED)
def test_all_nodes_run_the_same_setup(name: str) -> None:
    config = prepare_config(load(name))
    assert config["head_setup_commands"] == config["worker_setup_commands"] == config["setup_commands"]
    assert sum("~/dist/install.sh" in command for command in config["setup_commands"]) == 1
    assert config["file_mounts"]["~/dist"] == "dist", "what `make wheel` writes"


STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$HOME/calls"
[ "$1" = -m ] || exit 0
mkdir -p "$4/bin" && cp "$0" "$4/bin/pip" && cp "$0" "$4/bin/uv"
"""


def test_install_script_uses_hashed_pins_and_a_wheel_without_dependencies(tmp_path: Path) -> None:
    """What the script calls, given a Python and a uv that write down how they are called."""
    home, tools, dist = (tmp_path / name for name in ("home", "tools", "dist"))
    for folder in (home, tools, dist):
        folder.mkdir()
    (tools / "python3.12").write_text(STAND_IN)
    (tools / "python3.12").chmod(0o755)
    shutil.copy(FOLDER / "node" / "install.sh", dist)
    (dist / "vicc_ray-0.1.0-py3-none-any.whl").touch()
    environment = {"HOME": str(home), "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["bash", dist / "install.sh", "aws"], env=environment, check=True)
    installs = [call for call in (home / "calls").read_text().splitlines() if " install " in call]
    pinned = [call for call in installs if " -r " in call]
    (wheel,) = (call for call in installs if ".whl" in call)
    assert len(pinned) == len(installs) - 1 and all("--require-hashes" in call for call in pinned)
    assert "--no-deps" in wheel and " -r " not in wheel
    asked = {Path(name).name for call in pinned for name in re.findall(r"-r (\S+)", call)}
    assert asked == {"uv.txt", "cluster.txt", "aws.txt"}


def test_cloud_requirements_agree_with_the_cluster_pins() -> None:
    folder = FOLDER.parent / "requirements"
    texts = {name: (folder / f"{name}.txt").read_text() for name in ("cluster", *CLOUDS)}
    pins = {name: dict(re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)) for name, text in texts.items()}
    for cloud in CLOUDS:
        assert pins[cloud]
        both = pins[cloud].keys() & pins["cluster"].keys()
        assert {name: pins[cloud][name] for name in both} == {name: pins["cluster"][name] for name in both}


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_are_bounded_spot_instances_and_the_head_is_on_demand(name: str) -> None:
    config = load(name)
    types = dict(config["available_node_types"])
    assert not _is_spot(types.pop(config["head_node_type"])["node_config"])
    assert {kind: bool(node["resources"].get("GPU")) for kind, node in types.items()} == {"gpu": True, "cpu": False}
    for node in types.values():
        assert _is_spot(node["node_config"])
        assert 1 <= node["min_workers"] < node["max_workers"]
    assert config["max_workers"] == sum(node["max_workers"] for node in types.values())
    assert 0 < config["idle_timeout_minutes"] <= 15


@pytest.mark.parametrize("name", CLOUDS)
def test_all_nodes_share_one_pinned_image(name: str) -> None:
    types = load(name)["available_node_types"].values()
    images = [
        sorted((path, value) for path, value in entries(node["node_config"]) if "image" in path.lower())
        for node in types
    ]
    assert images[0] and all(image == images[0] for image in images)
    for _, value in images[0]:
        assert "latest" not in str(value) and "/family/" not in str(value)


def test_azure_template_has_every_parameter() -> None:
    template = json.loads((Path(autoscaler.__file__).parent / "_azure" / "azure-vm-template.json").read_text())
    for node in load("azure")["available_node_types"].values():
        assert set(node["node_config"]["azure_arm_parameters"]) <= set(template["parameters"])


def test_aws_instances_require_imdsv2_with_one_hop() -> None:
    """As a container, or a page that was tricked into one request."""
    for node in load("aws")["available_node_types"].values():
        assert node["node_config"]["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
