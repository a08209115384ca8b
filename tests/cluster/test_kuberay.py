"""The Kubernetes files against the schemas of KubeRay's operator, made strict: a key that they lack is an error."""

from __future__ import annotations

import copy
import gzip
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from tests.cluster.files import FOLDER, KUBERAY, load, path_of

OPERATOR = "1.7.0"


@pytest.fixture(scope="module")
def schemas(golden_dir: Path) -> dict[str, Any]:
    """Kind -> what validates it, see tests/golden/README.md."""
    found = json.loads(gzip.decompress((golden_dir / "kuberay_crds.json.gz").read_bytes()))
    return {kind: jsonschema.Draft202012Validator(_strict(schema)) for kind, schema in found.items()}


def _strict(schema: Any) -> Any:
    """As an API server that refuses unknown keys takes it; numbers may be given where it takes both."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def _cluster_of(content: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = content["spec"]
    return spec.get("rayClusterSpec", spec)


def _groups(name: str) -> list[dict[str, Any]]:
    cluster = _cluster_of(load(name))
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.mark.parametrize("name", KUBERAY)
def test_the_operator_takes_the_file(schemas: dict[str, Any], name: str) -> None:
    content = load(name)
    schemas[content["kind"]].validate(content)


@pytest.mark.parametrize("name", KUBERAY)
@pytest.mark.parametrize("level", ["spec", "group", "container"])
def test_a_slip_of_the_pen_is_seen(schemas: dict[str, Any], name: str, level: str) -> None:
    content = copy.deepcopy(load(name))
    group = _cluster_of(content)["workerGroupSpecs"][0]
    place = {"spec": _cluster_of(content), "group": group, "container": group["template"]["spec"]["containers"][0]}[
        level
    ]
    place["enableInTreeAutoscalling"] = True
    with pytest.raises(jsonschema.ValidationError, match="enableInTreeAutoscalling"):
        schemas[content["kind"]].validate(content)


@pytest.mark.parametrize("name", KUBERAY)
def test_versions_are_those_of_the_project(name: str) -> None:
    text = path_of(name).read_text()
    assert set(re.findall(r"KubeRay (\d+\.\d+\.\d+)|--version (\d+\.\d+\.\d+)", text)) == {
        (OPERATOR, ""),
        ("", OPERATOR),
    }
    assert _cluster_of(load(name))["rayVersion"] == ray.__version__
    assert f"FROM rayproject/ray:{ray.__version__}-py312\n" in (FOLDER / "kuberay" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", KUBERAY)
def test_nothing_is_placed_on_the_head_and_workers_are_spot_in_bounds(name: str) -> None:
    content = load(name)
    head, *workers = _groups(name)
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nodeSelector" not in head["template"]["spec"]
    spot = {content["metadata"]["annotations"][f"vicc-ray/spot-{part}"] for part in ("label", "value")}
    for group in workers:
        ((label, value),) = group["template"]["spec"]["nodeSelector"].items()
        assert {label, value} == spot
        assert 1 <= group["minReplicas"] == group["replicas"] < group["maxReplicas"]
    cluster = _cluster_of(content)
    assert cluster["enableInTreeAutoscaling"] and cluster["autoscalerOptions"]["idleTimeoutSeconds"] <= 900


@pytest.mark.parametrize("name", KUBERAY)
def test_all_pods_have_one_pinned_image_and_one_shared_folder(name: str) -> None:
    claim, _ = yaml.safe_load_all((FOLDER / "kuberay" / "shared.yaml").read_text())
    images = set()
    for group in _groups(name):
        (container,) = group["template"]["spec"]["containers"]
        (volume,) = group["template"]["spec"]["volumes"]
        images.add(container["image"])
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/shared"}]
    (image,) = images
    assert re.search(r":\d+\.\d+\.\d+$", image)


@pytest.mark.parametrize("name", KUBERAY)
def test_the_token_is_asked_for_and_others_are_kept_out(name: str) -> None:
    _, policy = yaml.safe_load_all((FOLDER / "kuberay" / "shared.yaml").read_text())
    assert _cluster_of(load(name))["authOptions"] == {"mode": "token"}
    for group in _groups(name):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()
    within, operator = policy["spec"]["ingress"]
    assert within["from"] == [{"podSelector": policy["spec"]["podSelector"]}]
    assert [port["port"] for port in operator["ports"]] == [8265]


def test_only_where_the_operator_asks_it_the_dashboard_is_open_to_the_network() -> None:
    assert _groups("raycluster")[0]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert _groups("rayjob")[0]["rayStartParams"]["dashboard-host"] == "0.0.0.0"


def test_both_files_describe_the_same_cluster() -> None:
    cluster, job = (_cluster_of(load(name)) for name in KUBERAY)
    for content in (cluster, job):
        content["headGroupSpec"]["rayStartParams"].pop("dashboard-host")
    assert cluster == job
