"""How the workers share a global batch: contiguous parts, as even as can be. B global batch, W workers."""

from __future__ import annotations

from vicc_ray.errors import UserError


def per_rank_sizes(batch: int, workers: int) -> list[int]:
    """Samples of every worker, in the order of ranks: B // W each, one more for the first B % W of them.

    Raises:
        UserError: there are more workers than samples.
    """
    if workers > batch:
        raise UserError(
            f"train.workers: {workers} workers given for a global batch of {batch}; every worker takes at least one "
            f"sample of each step, so set train.workers to {batch} or less, or raise train.batch"
        )
    size, left = divmod(batch, workers)
    return [size + 1] * left + [size] * (workers - left)


def rank_slice(batch: int, rank: int, workers: int) -> slice:
    """The places of a global batch that worker ``rank`` of ``workers`` takes."""
    sizes = per_rank_sizes(batch, workers)
    first = sum(sizes[:rank])
    return slice(first, first + sizes[rank])
