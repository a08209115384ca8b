"""The Kubernetes files against the schemas of KubeRay's operator, made strict: a key that they lack is an error."""

from __future__ import annotations

import copy
import gzip
import json
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.kuberay import node_provider

from tests.cluster.files import FOLDER, KUBERAY, load, path_of
from vicc_ray.clip_store.remote_cache import CACHE_VARIABLE

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
def test_manifests_match_the_operator_schema(schemas: dict[str, Any], name: str) -> None:
    content = load(name)
    schemas[content["kind"]].validate(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", KUBERAY)
@pytest.mark.parametrize("level", ["spec", "group", "container"])
def test_a_misspelled_key_is_rejected(schemas: dict[str, Any], name: str, level: str) -> None:
    content = copy.deepcopy(load(name))
    group = _cluster_of(content)["workerGroupSpecs"][0]
    place = {"spec": _cluster_of(content), "group": group, "container": group["template"]["spec"]["containers"][0]}[
        level
    ]
    place["enableInTreeAutoscalling"] = True
    with pytest.raises(jsonschema.ValidationError, match="enableInTreeAutoscalling"):
        schemas[content["kind"]].validate(content)


@pytest.mark.parametrize("name", KUBERAY)
def test_versions_match_the_project(name: str) -> None:
    text = path_of(name).read_text()
    assert set(re.findall(r"KubeRay (\d+\.\d+\.\d+)|--version (\d+\.\d+\.\d+)", text)) == {
        (OPERATOR, ""),
        ("", OPERATOR),
    }
    assert _cluster_of(load(name))["rayVersion"] == ray.__version__
    assert f"rayproject/ray:{ray.__version__}-py312@sha256:" in (FOLDER / "kuberay" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", KUBERAY)
def test_the_head_has_no_cpus_and_workers_are_bounded_spot_nodes(name: str) -> None:
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


def _pods(name: str) -> list[dict[str, Any]]:
    """Specifications of all pods of a file."""
    spec = load(name)["spec"]
    submitter = [spec["submitterPodTemplate"]["spec"]] if "submitterPodTemplate" in spec else []
    return [group["template"]["spec"] for group in _groups(name)] + submitter


def _shared(kind: str) -> list[dict[str, Any]]:
    found = yaml.safe_load_all((FOLDER / "kuberay" / "shared.yaml").read_text())
    return [content for content in found if content["kind"] == kind]


@pytest.mark.parametrize("name", KUBERAY)
def test_all_pods_share_one_pinned_image_and_one_volume(name: str) -> None:
    (claim,) = _shared("PersistentVolumeClaim")
    (image,) = {container["image"] for pod in _pods(name) for container in pod["containers"]}
    assert re.search(r"@sha256:FILL-IN$", image), "a tag may name another image tomorrow"
    for group in _groups(name):
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == "/shared")
        assert volumes[mount["name"]]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_base_image_must_be_pinned_by_digest() -> None:
    """That of Ray's own is looked up by whoever builds it; a mere tag does not pass."""
    lines = (FOLDER / "kuberay" / "Dockerfile").read_text().splitlines()
    assert "ARG RAY" in lines and "FROM ${RAY}" in lines
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:100"]
    (pattern,) = (match[1] for line in lines if (match := re.search(r"grep -qE '(.*)'", line)))
    for base, passes in (
        (f"rayproject/ray:{ray.__version__}-py312@sha256:{'0a' * 32}", True),
        (f"rayproject/ray:{ray.__version__}-py312", False),
        (f"rayproject/ray:{ray.__version__}-py312@sha256:0a", False),
        (f"somebody/ray:{ray.__version__}-py312@sha256:{'0a' * 32}", False),
    ):
        assert (re.search(pattern, base) is not None) == passes


@pytest.mark.parametrize("name", KUBERAY)
def test_pods_meet_the_restricted_security_standard(name: str) -> None:
    """As the restricted of Kubernetes' pod security standards asks, and nothing of the image can be written."""
    for pod in _pods(name):
        whole = pod["securityContext"]
        assert whole["runAsNonRoot"] is True and whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
            assert {"limits", "requests"} <= set(container["resources"])
            if container["name"] == "ray":
                given = {variable["name"]: variable["value"] for variable in container["env"]}
                assert given[CACHE_VARIABLE].startswith("/tmp/"), "the home cannot be written"
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert all("hostPath" not in volume for volume in pod["volumes"])


@pytest.mark.parametrize("name", KUBERAY)
def test_only_the_autoscaler_mounts_the_service_account_token(name: str) -> None:
    options = _cluster_of(load(name))["autoscalerOptions"]
    assert options["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    (mount,) = options["volumeMounts"]
    assert Path(mount["mountPath"], "token") == Path(node_provider.IN_CLUSTER_TOKEN_PATH)
    head, *others = _pods(name)
    (volume,) = (volume for volume in head["volumes"] if volume["name"] == mount["name"])
    assert {"serviceAccountToken", "configMap"} <= {key for source in volume["projected"]["sources"] for key in source}
    for pod in (head, *others):
        mounts = [mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]]
        assert mount["name"] not in mounts
    assert all("projected" not in volume for pod in others for volume in pod["volumes"])


@pytest.mark.parametrize("name", KUBERAY)
def test_ray_requires_a_token_and_ingress_is_limited_to_the_cluster(name: str) -> None:
    policy, _ = _shared("NetworkPolicy")
    assert _cluster_of(load(name))["authOptions"] == {"mode": "token"}
    for group in _groups(name):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()
    within, operator = policy["spec"]["ingress"]
    assert within["from"] == [{"podSelector": policy["spec"]["podSelector"]}]
    assert [port["port"] for port in operator["ports"]] == [8265]


@pytest.mark.parametrize(
    ("address", "port", "worker", "head"),
    [
        ("169.254.169.254", 80, False, False),  # the cloud's metadata, with the machine's credentials
        ("169.254.169.254", 443, False, False),
        ("8.8.8.8", 443, True, True),
        ("8.8.8.8", 25, False, False),
        ("10.0.0.1", 443, False, True),  # Kubernetes itself
        ("192.168.7.7", 443, False, True),
        ("10.0.0.1", 22, False, False),
    ],
)
def test_egress_is_limited_to_https_on_the_internet(address: str, port: int, worker: bool, head: bool) -> None:
    for_all, for_head = _shared("NetworkPolicy")
    for policy in (for_all, for_head):
        assert "Egress" in policy["spec"]["policyTypes"]
    assert for_head["spec"]["podSelector"]["matchLabels"]["ray.io/node-type"] == "head"
    assert _lets_out(for_all, address, port) == worker
    assert (_lets_out(for_all, address, port) or _lets_out(for_head, address, port)) == head


def test_network_rules_match_the_kubernetes_schema(schemas: dict[str, Any]) -> None:
    """By the schema of rules that the operator takes over from Kubernetes."""
    cluster = schemas["RayCluster"].schema["properties"]["spec"]["properties"]
    rules = cluster["networkPolicy"]["properties"]["head"]["properties"]
    for policy in _shared("NetworkPolicy"):
        for direction in {"ingress", "egress"} & set(policy["spec"]):
            jsonschema.validate(policy["spec"][direction], rules[f"{direction}Rules"])


def _lets_out(policy: dict[str, Any], address: str, port: int) -> bool:
    for rule in policy["spec"]["egress"]:
        if "ports" in rule and port not in {entry["port"] for entry in rule["ports"]}:
            continue
        for block in (to["ipBlock"] for to in rule["to"] if "ipBlock" in to):
            inside = [ip_network(text) for text in (block["cidr"], *block.get("except", []))]
            if ip_address(address) in inside[0] and not any(ip_address(address) in one for one in inside[1:]):
                return True
    return False


def test_the_dashboard_listens_on_the_network_for_rayjob_only() -> None:
    assert _groups("raycluster")[0]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert _groups("rayjob")[0]["rayStartParams"]["dashboard-host"] == "0.0.0.0"


def test_both_files_describe_the_same_cluster() -> None:
    cluster, job = (_cluster_of(load(name)) for name in KUBERAY)
    for content in (cluster, job):
        content["headGroupSpec"]["rayStartParams"].pop("dashboard-host")
    assert cluster == job
