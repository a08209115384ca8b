"""Straightforward training step for comparison: fp32, contiguous, one view and one parameter at a time.

Written from the paper's equations (arXiv 2106.10137). It shares networks, augmentation and prototypes with the package,
so that only the computation differs. V views, b samples, D embedding, K prototypes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from vicc_ray.config import Config, Stream
from vicc_ray.method.prototypes import Prototypes
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.input_convention import RGB, SIGNED_FLOW


class PlainStep:
    """RGB phase of stage 2 on one worker; the queue, if any, is full from the start."""

    def __init__(self, config: Config, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.method, self.settings, self.device = config.method, config.optimizer, device
        self.rgb = build_encoder(config.model).to(device)
        self.flow = build_encoder(config.model).to(device).eval()
        self.prototypes = Prototypes(config.method.num_prototypes, config.model.embed_dim).to(device)
        rows = torch.randn(4, config.method.queue_size, config.model.embed_dim, device=device)
        self.queue = nn.functional.normalize(rows, dim=2)
        self.velocity: dict[nn.Parameter, Tensor] = {}

    def step(self, batch: Mapping[str, Tensor]) -> float:
        """Run one step; the host reads the loss, as for a progress bar."""
        with torch.no_grad():
            self.prototypes.normalize_weights()
        views = [self._view(batch, "rgb", k) for k in range(2)]
        with torch.no_grad():
            views += [self._view(batch, "flow", k) for k in range(2)]
        loss = self.loss(views)
        for p in self._parameters():
            p.grad = None
        loss.backward()
        self._update()
        return loss.item()

    def _view(self, batch: Mapping[str, Tensor], stream: Stream, k: int) -> Tensor:
        clips = batch[stream][:, k].to(self.device)
        if stream == "flow":
            embedded: Tensor = self.flow(SIGNED_FLOW.to_input(clips, SIGNED_FLOW.unit).contiguous())
        else:
            embedded = self.rgb(RGB.to_input(clips, RGB.unit, batch["appearance"][:, k]).contiguous())
        return embedded

    def loss(self, views: list[Tensor]) -> Tensor:
        """Loss of predicting each view's assignment from each other view, in sequence."""
        scores = [self.prototypes(z) for z in views]
        total = torch.zeros((), device=self.device)
        for s, assigned in enumerate(views):
            with torch.no_grad():
                rows = torch.cat([self.prototypes(self.queue[s]), scores[s].detach()])
                q = self._sinkhorn(rows)[-len(assigned) :]
                self.queue[s] = torch.cat([assigned.detach(), self.queue[s, : len(self.queue[s]) - len(assigned)]])
            for t in range(len(views)):
                if t != s:
                    log_p = log_softmax(scores[t] / self.method.temperature, dim=1)
                    total = total - (q * log_p).sum(dim=1).mean()
        return total / (len(views) * (len(views) - 1))

    def _sinkhorn(self, scores: Tensor) -> Tensor:
        q = torch.exp(scores / self.method.sinkhorn_epsilon).T
        q /= q.sum()
        for _ in range(self.method.sinkhorn_iterations):
            for row in q:  # prototypes
                row /= row.sum() * len(q)
            q /= q.sum(dim=0, keepdim=True) * q.shape[1]
        return (q * q.shape[1]).T

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.rgb.parameters(), *self.prototypes.parameters()]

    @torch.no_grad()
    def _update(self) -> None:
        """LARS update, one parameter after another."""
        for p in self._parameters():
            gradient = p.grad
            assert gradient is not None
            if p.ndim > 1:
                w, g = p.norm(), gradient.norm()
                gradient = gradient + self.settings.weight_decay * p
                if w > 0 and g > 0:
                    gradient = gradient * (
                        self.settings.trust_coefficient * w / (g + self.settings.weight_decay * w + 1e-8)
                    )
            velocity = self.velocity.setdefault(p, torch.zeros_like(p))
            velocity.mul_(self.settings.momentum).add_(gradient)
            p.sub_(self.settings.learning_rate * velocity)
