"""Loss, both gradients and the queue equal what the published implementation computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tests.conftest import golden_folder
from tests.gloo import run_workers
from vicc_ray.method.embedding_queue import EmbeddingQueue
from vicc_ray.method.loss import cross_view_loss
from vicc_ray.method.prototypes import Prototypes
from vicc_ray.method.sinkhorn import sinkhorn
from vicc_ray.training.distributed.collectives import all_gather_uneven, rank

GOLDEN_DIR = golden_folder()
FIRST_RANKS = sorted(path.name for path in GOLDEN_DIR.glob("*queue_w*_r0.npz"))


def compute(path: str) -> dict[str, torch.Tensor]:
    """This rank's losses and gradients of all steps of a golden file, and the final queue."""
    golden = np.load(path.replace("_r0", f"_r{rank()}"))
    raw = torch.from_numpy(golden["raw_embeddings"])[:, rank()]
    steps, _, batch, width = raw.shape
    assigned = golden["views_for_assign"].tolist()
    prototypes = Prototypes(*golden["prototypes"].shape)
    prototypes.weight.data = torch.from_numpy(golden["prototypes"])
    workers = int(golden["world_size"])
    queue = EmbeddingQueue(len(assigned), int(golden["queue_len_per_worker"]) * workers, width)
    out: dict[str, list[torch.Tensor]] = {"loss": [], "grad_embeddings": [], "grad_prototypes": []}
    for step in range(steps):
        leaf = raw[step].clone().requires_grad_()
        unit = normalize(leaf, dim=-1)
        unit = torch.cat([unit[:2], unit[2:].detach()])
        gathered = all_gather_uneven(unit[assigned], dim=1)
        rows = torch.cat([queue.rows, gathered], dim=1) if queue.ready else gathered
        found = sinkhorn(prototypes(rows), float(golden["epsilon"]), int(golden["iterations"]))
        own = found[:, -gathered.shape[1] :][:, rank() * batch : (rank() + 1) * batch]
        prototypes.weight.grad = None
        loss = cross_view_loss(prototypes(unit), own, assigned, float(golden["temperature"]))
        loss.backward()
        if queue.length:
            queue.push(gathered)
        for name, value in (
            ("loss", loss.detach()),
            ("grad_embeddings", leaf.grad),
            ("grad_prototypes", prototypes.weight.grad),
        ):
            assert value is not None
            out[name].append(value.clone())
    result = {name: torch.stack(values) for name, values in out.items()}
    if queue.length:
        by_rank = queue.rows.view(len(assigned), -1, workers, batch, width)
        result["queue_after"] = by_rank[:, :, rank()].flatten(1, 2).clone()
    return result


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST_RANKS)
def test_loss_gradients_and_queue_match_the_reference(name: str, tmp_path: Path) -> None:
    path = GOLDEN_DIR / name
    workers = int(np.load(path)["world_size"])
    results = run_workers(compute, workers, tmp_path / "gloo", str(path)) if workers > 1 else [compute(str(path))]
    for r, found in enumerate(results):
        golden = np.load(str(path).replace("_r0", f"_r{r}"))
        for key, value in found.items():
            np.testing.assert_allclose(value.numpy(), golden[key], atol=1e-5, rtol=0, err_msg=f"rank {r}: {key}")


def test_there_are_golden_files_with_and_without_queue_for_one_and_two_workers() -> None:
    assert {"cross_queue_w2_r0.npz", "cross_noqueue_w1_r0.npz", "single_noqueue_w2_r0.npz"} <= set(FIRST_RANKS)
