"""What ``ray up`` and the autoscaler make on AWS: Ray's own code against a server that behaves like EC2 and IAM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.aws import utils as ray_aws_cache
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

from tests.cluster.files import FOLDER, load
from tests.s3 import aws_server

ROLES = {"vicc-ray-head": "aws-policy.json", "vicc-ray-worker": "aws-worker-policy.json"}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty account with the roles of the documentation; Ray's calls go there, its key into a folder of the test."""
    with aws_server() as (host, port):
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "HOME": str(tmp_path),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session())
        _forget_clients()
        _make_roles()
        yield
        _forget_clients()


def _forget_clients() -> None:
    """Ray keeps them for the life of its process, with the address of the server."""
    ray_aws_cache.resource_cache.cache_clear()
    ray_aws_cache.client_cache.cache_clear()


def _make_roles() -> None:
    iam: Any = boto3.client("iam", "us-east-1")
    for role, policy in ROLES.items():
        iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        iam.put_role_policy(RoleName=role, PolicyName=role, PolicyDocument=(FOLDER / policy).read_text())
        iam.create_instance_profile(InstanceProfileName=role)
        iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)


def _launched(
    kinds: tuple[str, ...] = ("head", "gpu", "cpu"),
) -> tuple[dict[str, Any], AWSNodeProvider, dict[str, Any]]:
    """The bootstrapped configuration, the provider, and of each kind of machine the one that it began."""
    config = ray_aws.bootstrap_aws(prepare_config(load("aws")))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    machines = {}
    for kind in kinds:
        tags = {TAG_RAY_NODE_KIND: "head" if kind == "head" else "worker", TAG_RAY_USER_NODE_TYPE: kind}
        made = provider.create_node(config["available_node_types"][kind]["node_config"], tags, 1)
        (machines[kind],) = made.values()
    for machine in machines.values():
        machine.reload()
    return config, provider, machines


@pytest.mark.slow
@pytest.mark.usefixtures("cloud")
def test_each_node_type_is_launched_as_the_file_declares() -> None:
    config, _, machines = _launched()
    types = {kind: machine.instance_type for kind, machine in machines.items()}
    assert types == {"head": "m6i.large", "gpu": "g6.2xlarge", "cpu": "c6i.2xlarge"}
    assert {kind: machine.instance_lifecycle for kind, machine in machines.items()} == {
        "head": None, "gpu": "spot", "cpu": "spot",
    }  # fmt: skip
    profiles = {kind: machine.iam_instance_profile["Arn"].rsplit("/", 1)[-1] for kind, machine in machines.items()}
    assert profiles == {"head": "vicc-ray-head", "gpu": "vicc-ray-worker", "cpu": "vicc-ray-worker"}
    for kind, machine in machines.items():
        tags = {tag["Key"]: tag["Value"] for tag in machine.tags}
        assert tags[TAG_RAY_CLUSTER_NAME] == config["cluster_name"] and tags[TAG_RAY_USER_NODE_TYPE] == kind
        assert machine.image_id == load("aws")["metadata"]["fill_in"]["image"]


@pytest.mark.slow
@pytest.mark.usefixtures("cloud")
def test_one_security_group_admits_ssh_and_cluster_traffic_only() -> None:
    _, _, machines = _launched()
    groups = {
        group["GroupId"]: group["GroupName"] for machine in machines.values() for group in machine.security_groups
    }
    ((group_id, name),) = groups.items()
    assert name == "vicc-ray"
    ec2: Any = boto3.client("ec2", "us-east-1")
    for rule in ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]:
        if rule["IpRanges"]:
            assert rule["FromPort"] == rule["ToPort"] == 22
        else:
            assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [group_id]


@pytest.mark.slow
@pytest.mark.usefixtures("cloud")
def test_all_nodes_share_one_key_readable_by_its_owner_only() -> None:
    config, _, machines = _launched()
    (key,) = {machine.key_name for machine in machines.values()}
    file = Path(config["auth"]["ssh_private_key"])
    assert file.stem == key and file.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.usefixtures("cloud")
def test_the_head_role_allows_exactly_the_autoscaler_calls() -> None:
    config, _, _ = _launched(())
    called: set[str] = set()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("before-call.ec2", lambda model, **_: called.add(f"ec2:{model.name}"))
    _forget_clients()  # those of the launcher, made before anybody listened
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node_config = config["available_node_types"]["gpu"]["node_config"]
    (machine,) = provider.create_node(node_config, {TAG_RAY_NODE_KIND: "worker"}, 1)
    provider.non_terminated_nodes({})
    provider.set_node_tags(machine, {"ray-node-status": "up-to-date"})
    provider.terminate_node(machine)
    policy = json.loads((FOLDER / "aws-policy.json").read_text())
    assert {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"} <= called
    allowed = [_as_list(statement["Action"]) for statement in policy["Statement"]]
    assert called <= {action for actions in allowed for action in actions}
    assert not any("*" in action for actions in allowed for action in actions)


def test_the_head_role_terminates_instances_of_this_cluster_only() -> None:
    policy = json.loads((FOLDER / "aws-policy.json").read_text())
    for statement in policy["Statement"]:
        if "ec2:TerminateInstances" in statement["Action"]:
            assert statement["Condition"]["StringEquals"] == {
                f"aws:ResourceTag/{TAG_RAY_CLUSTER_NAME}": load("aws")["cluster_name"]
            }
        elif statement["Sid"] != "Look":
            assert statement["Resource"] != "*"


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
