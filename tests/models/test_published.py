"""Published checkpoints: the golden features, what went where, and every misfit refused."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import golden_folder
from vicc_ray.errors import UserError
from vicc_ray.models.published import import_weights, map_published, read_published

State = dict[str, Tensor]
S3D = [f for f in sorted(golden_folder().glob("*_keys.json")) if json.loads(f.read_text())["net"] == "s3d"]
OTHERS = [f for f in sorted(golden_folder().glob("*_keys.json")) if f not in S3D]


@pytest.fixture(scope="module", params=S3D, ids=lambda keys: keys.stem)
def checkpoint(request: pytest.FixtureRequest, published_checkpoint: Callable[[Path], Path]) -> tuple[Path, Path]:
    """(key list, checkpoint made from it)"""
    return request.param, published_checkpoint(request.param)


@pytest.fixture(scope="module")
def state(checkpoint: tuple[Path, Path]) -> State:
    """The checkpoint's state dict, to be copied before it is changed."""
    return torch.load(checkpoint[1], weights_only=True)["state_dict"]


def test_golden_files_are_there() -> None:
    assert S3D, f"no S3D *_keys.json in {golden_folder()}"


def test_features_equal_the_recorded_ones(checkpoint: tuple[Path, Path]) -> None:
    keys, path = checkpoint
    golden = np.load(keys.with_name(keys.name.replace("_keys.json", "_features.npz")))
    frames, size = int(golden["a_T"]), int(golden["a_S"])
    clips = np.random.RandomState(5).standard_normal((2, 3, frames, size, size))
    clips = torch.from_numpy(clips.astype(np.float32))
    weights = read_published(path)
    first, second = weights.build("encoder"), weights.build("second")
    with torch.inference_mode():
        computed = {"pooled": first.features(clips), "embedding": first(clips), "second_pooled": second.features(clips)}
    for name, value in computed.items():
        np.testing.assert_allclose(value.numpy(), golden[f"a_{name}"], rtol=1e-4, atol=1e-4, err_msg=name)


def test_every_name_of_the_file_is_accounted_for(checkpoint: tuple[Path, Path]) -> None:
    keys, path = checkpoint
    spec, weights = json.loads(keys.read_text()), read_published(path)
    assert weights.second is not None
    assert weights.prototypes is not None
    used = len(weights.encoder) + len(weights.second) + 1
    assert used + weights.twins + len(weights.left_over) == len(spec["keys"])
    assert weights.twins == sum(".block" in name for name, _ in spec["keys"])
    assert weights.left_over == []


def test_import_writes_safetensors_and_a_record(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    _, path = checkpoint
    record = import_weights(path, tmp_path / "out")
    weights = read_published(path)
    for name in ("encoder", "second"):
        saved, state = load_file(tmp_path / "out" / f"{name}.safetensors"), weights.build(name).state_dict()
        assert all(torch.equal(saved[key], state[key]) for key in state)
    assert torch.equal(load_file(tmp_path / "out" / "prototypes.safetensors")["weight"], weights.prototypes)
    assert json.loads((tmp_path / "out" / "import.json").read_text()) == record
    assert record["model"] == {"backbone": "s3d", "embedding": 128}


@pytest.mark.parametrize("keys", OTHERS, ids=lambda keys: keys.stem)
def test_another_backbone_is_recognised_and_declined(keys: Path) -> None:
    state = {name: torch.empty(shape, device="meta") for name, shape in json.loads(keys.read_text())["keys"]}
    with pytest.raises(UserError, match=re.escape("R(2+1)D checkpoint; that backbone is not available yet")):
        map_published(state, keys.name)


def remove(name: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        for alias in [key for key in state if state[key] is state[name]]:
            del state[alias]

    return change


def replace(name: str, value: Tensor) -> Callable[[State], None]:
    return lambda state: state.update({name: value})


MISFITS = {
    "missing": (remove("encoder_q.0.Conv_2b.conv.weight"), "encoder_q.*: 1 of 466 tensors are missing"),
    "unknown layer": (replace("encoder_q.0.Conv_9z.conv.weight", torch.zeros(1)), "Conv_9z.conv.weight: no such layer"),
    "unknown head": (replace("second.6.weight", torch.zeros(1)), "second.6.weight: no such layer"),
    "unknown branch": (replace("encoder_q.0.Mixed_3b.branch0.1.conv.weight", torch.zeros(64, 192, 1, 1, 1)), "no such"),
    "shape": (replace("encoder_q.0.Conv_2b.bn.bias", torch.zeros(65)), r"shape [65] given, [64] expected"),
    "head shape": (replace("encoder_q.2.weight", torch.zeros(8, 1024, 1, 1, 1)), "[8, 1024, 1, 1, 1] given"),
    "twin": (replace("encoder_q.0.block2.1.conv.weight", torch.zeros(64, 64, 1, 1, 1)), "differs from its twin"),
    "prototypes": (replace("prototypes.weight", torch.zeros(300, 64)), "[300, 64] given, [K, 128] expected"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_misfits_are_named(case: str, state: State) -> None:
    change, message = MISFITS[case]
    changed = dict(state)
    change(changed)
    with pytest.raises(UserError, match=re.escape(message)):
        map_published(changed, "changed.pth.tar")


def test_a_single_stream_file_and_unknown_names(state: State, tmp_path: Path) -> None:
    kept = {name: tensor for name, tensor in state.items() if name.startswith("encoder_q.")}
    torch.save({"state_dict": kept | {"queue": torch.zeros(2)}}, tmp_path / "one.pth.tar")
    weights = read_published(tmp_path / "one.pth.tar")
    assert weights.left_over == ["queue"]
    assert weights.prototypes is None
    with pytest.raises(UserError, match="one network only"):
        weights.build("second")
    record = import_weights(tmp_path / "one.pth.tar", tmp_path / "out")
    assert list(record["files"]) == ["encoder.safetensors"]


class Payload:
    """Makes a folder when a reader unpickles it carelessly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_payload_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "extra": Payload(tmp_path / "ran")}, tmp_path / "evil.pth.tar")
    with pytest.raises(UserError, match=r"refused and not run: it holds \w+\.mkdir"):
        read_published(tmp_path / "evil.pth.tar")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut", b"\x80\x02}q\x00"])
def test_damaged_files_are_user_errors(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.pth.tar").write_bytes(content)
    with pytest.raises(UserError, match="not a torch checkpoint, or a damaged one"):
        read_published(tmp_path / "bad.pth.tar")


def test_a_cut_file_is_a_user_error(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "cut.pth.tar").write_bytes(checkpoint[1].read_bytes()[:100_000])
    with pytest.raises(UserError, match="damaged"):
        read_published(tmp_path / "cut.pth.tar")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "it has no state_dict; it holds model"),
        ([1], "it has no state_dict; it holds list"),
        ({"state_dict": {"encoder_q.2.bias": 3}}, "entry 'encoder_q.2.bias' is int; a tensor was expected"),
        ({"state_dict": {}}, "no names that start with 'encoder_q.'"),
        ({"state_dict": {"fc.weight": torch.zeros(1)}}, "its first names are fc.weight"),
    ],
)
def test_other_torch_files_are_declined(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth.tar")
    with pytest.raises(UserError, match=re.escape(message)):
        read_published(tmp_path / "other.pth.tar")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_published(tmp_path / "none.pth.tar")


def test_unwritable_output(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        import_weights(checkpoint[1], tmp_path / "file")
