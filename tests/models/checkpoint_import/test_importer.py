"""Import of published checkpoints: golden features, the map of keys, and refusal of what does not match."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import golden_folder
from vicc_ray.config import ModelConfig
from vicc_ray.errors import UserError
from vicc_ray.models.checkpoint_import.importer import import_weights, map_published, read_published
from vicc_ray.models.input_convention import PICTURE_FLOW, RGB
from vicc_ray.models.weights_io import read_weights

State = dict[str, Tensor]
KEYS = sorted(golden_folder().glob("*_keys.json"))
BACKBONES = {"s3d": "s3d", "r21d": "r2plus1d-small"}
"""Name of a network in its key list -> name of our backbone."""


@pytest.fixture(scope="module", params=KEYS, ids=lambda keys: keys.stem)
def checkpoint(request: pytest.FixtureRequest, published_checkpoint: Callable[[Path], Path]) -> tuple[Path, Path]:
    """(key list, checkpoint made from it)"""
    return request.param, published_checkpoint(request.param)


@pytest.fixture(scope="module")
def states(published_checkpoint: Callable[[Path], Path]) -> dict[str, State]:
    """Name of a backbone -> state dict of its checkpoint; shared, so tests change copies."""
    nets = {keys: BACKBONES[json.loads(keys.read_text())["net"]] for keys in KEYS}
    return {net: torch.load(published_checkpoint(keys), weights_only=True)["state_dict"] for keys, net in nets.items()}


def test_golden_files_exist() -> None:
    assert {json.loads(keys.read_text())["net"] for keys in KEYS} == set(BACKBONES)


@pytest.mark.slow
def test_features_equal_the_golden_ones(checkpoint: tuple[Path, Path]) -> None:
    keys, path = checkpoint
    golden = np.load(keys.with_name(keys.name.replace("_keys.json", "_features.npz")))
    frames, size = int(golden["a_T"]), int(golden["a_S"])
    values = np.random.RandomState(5).standard_normal((2, 3, frames, size, size))
    clips = torch.from_numpy(values.astype(np.float32))
    weights = read_published(path)
    first, second = weights.build("encoder"), weights.build("second")
    with torch.inference_mode():
        computed = {"pooled": first.features(clips), "embedding": first(clips), "second_pooled": second.features(clips)}
    for name, value in computed.items():
        np.testing.assert_allclose(value.numpy(), golden[f"a_{name}"], rtol=1e-5, atol=5e-5, err_msg=name)


@pytest.mark.slow
def test_every_key_of_the_file_is_accounted_for(checkpoint: tuple[Path, Path]) -> None:
    keys, path = checkpoint
    spec, weights = json.loads(keys.read_text()), read_published(path)
    assert weights.second is not None
    assert weights.prototypes is not None
    used = len(weights.encoder) + len(weights.second) + 1
    assert used + weights.aliases + len(weights.unexpected_keys) == len(spec["keys"])
    assert weights.aliases == sum(re.search(r"\.block\d\.\d\.", name) is not None for name, _ in spec["keys"])
    assert weights.unexpected_keys == []
    assert set(weights.key_map) == {name for name, _ in spec["keys"]}
    ours = {"encoder": weights.encoder, "second": weights.second, "prototypes": {"weight": weights.prototypes}}
    state = torch.load(path, weights_only=True)["state_dict"]
    for name, key in weights.key_map.items():
        part, _, rest = key.partition(".")
        assert torch.equal(state[name].flatten(), ours[part][rest].flatten()), name


@pytest.mark.slow
def test_import_writes_safetensors_and_a_record(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    keys, path = checkpoint
    record = import_weights(path, tmp_path / "out")
    weights = read_published(path)
    for name in ("encoder", "second"):
        saved, state = load_file(tmp_path / "out" / f"{name}.safetensors"), weights.build(name).state_dict()
        assert all(torch.equal(saved[key], state[key]) for key in state)
    assert torch.equal(load_file(tmp_path / "out" / "prototypes.safetensors")["weight"], weights.prototypes)
    assert json.loads((tmp_path / "out" / "import.json").read_text()) == record
    backbone = BACKBONES[json.loads(keys.read_text())["net"]]
    model = ModelConfig(backbone=backbone, embed_dim=128, flow_input="picture")
    assert ModelConfig.model_validate(record["model"]) == model
    rgb, flow = (read_weights(tmp_path / "out" / f"{name}.safetensors") for name in ("encoder", "second"))
    assert [weights.convention for weights in (rgb, flow)] == [
        convention.model_copy(update={"crop_share": 224 / 240}) for convention in (RGB, PICTURE_FLOW)
    ]


def remove(name: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        for alias in [key for key in state if state[key] is state[name]]:
            del state[alias]

    return change


def add(name: str, *shape: int) -> Callable[[State], None]:
    """Add zeros of a shape under a key, or replace the tensor there."""
    return lambda state: state.update({name: torch.zeros(shape)})


MISFITS: dict[str, dict[str, tuple[Callable[[State], None], str]]] = {
    "s3d": {
        "missing": (remove("encoder_q.0.Conv_2b.conv.weight"), "encoder_q.*: 1 of 466 tensors are missing"),
        "unknown layer": (add("encoder_q.0.Conv_9z.conv.weight", 1), "Conv_9z.conv.weight: no such layer in S3D with"),
        "unknown head": (add("second.6.weight", 1), "second.6.weight: no such layer"),
        "unknown branch": (add("encoder_q.0.Mixed_3b.branch0.1.conv.weight", 64, 192, 1, 1, 1), "no such layer"),
        "shape": (add("encoder_q.0.Conv_2b.bn.bias", 65), "shape [65] given, [64] expected"),
        "head shape": (add("encoder_q.2.weight", 8, 1024, 1, 1, 1), "[8, 1024, 1, 1, 1] given"),
        "alias": (add("encoder_q.0.block2.1.conv.weight", 64, 64, 1, 1, 1), "backbone.layers.2.0.weight"),
        "prototypes": (add("prototypes.weight", 300, 64), "[300, 64] given, [K, 128] expected"),
        "other network": (add("second.0.bn1.weight", 64), "second.0.bn1.weight: no such layer in S3D with"),
    },
    "r2plus1d-small": {
        "missing": (remove("encoder_q.0.conv1.spatial_conv.weight"), "encoder_q.*: 1 of 148 tensors are missing"),
        "missing in second": (
            remove("second.0.conv5.block1.bn2.bias"),
            "backbone.layers.4.main.4.bias",
        ),
        "second block": (
            add("encoder_q.0.conv2.block2.bn1.weight", 64),
            "encoder_q.0.conv2.block2.bn1.weight: no such layer in the small R(2+1)D with its projection head",
        ),
        "shortcut": (add("second.0.conv2.block1.downsamplebn.weight", 64), "downsamplebn.weight: no such layer"),
        "not a pair": (add("encoder_q.0.conv1.weight", 64, 3, 3, 7, 7), "encoder_q.0.conv1.weight: no such layer"),
        "pair": (add("encoder_q.0.bn1.spatial_conv.weight", 64), "bn1.spatial_conv.weight: no such layer"),
        "unknown in stem": (add("encoder_q.0.bn2.weight", 64), "encoder_q.0.bn2.weight: no such layer"),
        "bias": (add("encoder_q.0.conv1.temporal_conv.bias", 64), "temporal_conv.bias: no such layer"),
        "shape": (
            add("encoder_q.0.conv3.block1.conv2.spatial_conv.weight", 230, 128, 1, 3, 3),
            "shape [230, 128, 1, 3, 3] given, [288, 128, 1, 3, 3] expected",
        ),
        "head shape": (add("encoder_q.2.weight", 8, 512, 1, 1, 1), "[8, 512, 1, 1, 1] given, [512, 512] expected"),
        "prototypes": (add("prototypes.weight", 300, 64), "[300, 64] given, [K, 128] expected"),
        "other network": (add("second.0.Conv_1a.bn1.bias", 64), "Conv_1a.bn1.bias: no such layer in the small R(2+1)D"),
    },
}


@pytest.mark.parametrize(("backbone", "case"), [(net, case) for net, cases in MISFITS.items() for case in cases])
def test_keys_and_shapes_that_do_not_match_are_named(backbone: str, case: str, states: dict[str, State]) -> None:
    change, message = MISFITS[backbone][case]
    changed = dict(states[backbone])
    change(changed)
    with pytest.raises(UserError, match=re.escape(message)):
        map_published(changed, "changed.pth.tar")


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["0.conv1.weight", "0.bn1.weight", *(f"0.layer{n}.0.conv1.weight" for n in range(1, 5))], "conv1.weight, bn1"),
        (["2.weight", "4.weight"], "none"),
    ],
)
def test_an_unknown_backbone_is_refused_and_the_supported_ones_are_named(names: list[str], first: str) -> None:
    state = {f"encoder_q.{name}": torch.zeros(1) for name in names}
    with pytest.raises(UserError) as error:
        map_published(state, "other.pth.tar")
    assert all(fact in str(error.value) for fact in ("S3D", "the small R(2+1)D", first))


@pytest.mark.slow
def test_a_checkpoint_of_one_stream_is_imported_and_unknown_keys_are_listed(
    checkpoint: tuple[Path, Path], tmp_path: Path
) -> None:
    state = torch.load(checkpoint[1], weights_only=True)["state_dict"]
    one_stream = {name: tensor for name, tensor in state.items() if name.startswith("encoder_q.")}
    torch.save({"state_dict": one_stream | {"queue": torch.zeros(2)}}, tmp_path / "one.pth.tar")
    weights = read_published(tmp_path / "one.pth.tar")
    assert weights.unexpected_keys == ["queue"]
    assert weights.prototypes is None
    with pytest.raises(UserError, match="one network only"):
        weights.build("second")
    record = import_weights(tmp_path / "one.pth.tar", tmp_path / "out")
    assert list(record["files"]) == ["encoder.safetensors"]


class Payload:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_payload_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "extra": Payload(tmp_path / "ran")}, tmp_path / "evil.pth.tar")
    with pytest.raises(UserError, match=r"\w+\.mkdir"):
        read_published(tmp_path / "evil.pth.tar")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut", b"\x80\x02}q\x00"])
def test_damaged_files_are_user_errors(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.pth.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pth\.tar"):
        read_published(tmp_path / "bad.pth.tar")


def test_a_truncated_file_is_a_user_error(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "cut.pth.tar").write_bytes(checkpoint[1].read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"cut\.pth\.tar"):
        read_published(tmp_path / "cut.pth.tar")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "model"),
        ([1], "list"),
        ({"state_dict": {"encoder_q.2.bias": 3}}, "'encoder_q.2.bias' is int"),
        ({"state_dict": {}}, "'encoder_q.'"),
        ({"state_dict": {"fc.weight": torch.zeros(1)}}, "fc.weight"),
    ],
)
def test_other_torch_files_are_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth.tar")
    with pytest.raises(UserError, match=re.escape(message)):
        read_published(tmp_path / "other.pth.tar")


@pytest.mark.parametrize("member", ["archive/data.pkl", "archive/data/0", "more"])
def test_a_zip_bomb_is_refused(member: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth.tar"
    torch.save({"state_dict": {"encoder_q.0.a": torch.zeros(1)}}, path)
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    root = next(iter(content)).partition("/")[0]
    content[member.replace("archive", root)] = bytes(10**7)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    assert path.stat().st_size < 10**5
    with pytest.raises(UserError, match=r"unpacks to \d"):
        read_published(path)


@pytest.mark.parametrize("name", ["prototypes.weight", "encoder_q.4.weight", "more"])
def test_a_tensor_of_more_elements_than_its_storage_holds_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth.tar"
    torch.save({"state_dict": {"encoder_q.0.a": torch.zeros(1), name: torch.zeros(1).expand(10**12, 128)}}, path)
    with pytest.raises(UserError, match=re.escape(name)):
        read_published(path)
    torch.save({"state_dict": {"encoder_q.0.a": torch.zeros(1, device="meta")}}, path)
    with pytest.raises(UserError, match=r"encoder_q\.0\.a"):
        read_published(path)
    torch.save({"state_dict": {"encoder_q.0.a": torch.zeros(2, 2).to_sparse()}}, path)
    with pytest.raises(UserError, match=r"encoder_q\.0\.a"):
        read_published(path)


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth\.tar"):
        read_published(tmp_path / "none.pth.tar")


def test_an_unwritable_output_is_a_user_error(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "file"))):
        import_weights(checkpoint[1], tmp_path / "file")
