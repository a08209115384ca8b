"""R(2+1)D (Tran et al., arXiv 1711.11248): 3-D convolutions factorized into a spatial and a temporal one.

B batch, C channels, T frames, H, W. Both networks: [B, C, T, H, W] -> [B, 512, T/8, H/16, W/16], rounded up.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from vicc_ray.models.backbones.base import Backbone

WIDTHS = (64, 64, 128, 256, 512)
"""Channels of the stem and of the four stages."""


class R2Plus1D18(Backbone):
    """torchvision's R(2+1)D-18 without its classifier: two blocks a stage, 31.3 M parameters."""

    features = WIDTHS[-1]

    def __init__(self, in_channels: int = 3) -> None:
        # Imported late: torchvision takes as long to import as torch, and every process of a run would wait for it.
        from torchvision.models.video import r2plus1d_18

        super().__init__()
        network = r2plus1d_18(num_classes=1)
        if in_channels != 3:
            network.stem[0] = nn.Conv3d(in_channels, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
            nn.init.kaiming_normal_(network.stem[0].weight, mode="fan_out", nonlinearity="relu")
        self.layers = nn.Sequential(network.stem, network.layer1, network.layer2, network.layer3, network.layer4)


class R2Plus1DSmall(Backbone):
    """R(2+1)D of the method's released models: one block per stage, 14.4 M parameters.

    Two things differ from R(2+1)D-18 besides the number of blocks. Every convolution is factorized, in the stem and in
    the shortcuts too. The width in between follows from the convolution's own channels, so that the pair has as many
    weights as the 3-D convolution (torchvision uses the first convolution's channels for both of a block).
    """

    features = WIDTHS[-1]

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        stem = nn.Sequential(
            SplitConv(in_channels, WIDTHS[0], frames=3, pixels=7, strides=(1, 2)),
            nn.BatchNorm3d(WIDTHS[0]),
            nn.ReLU(inplace=True),
        )
        stages = [Block(before, after, stride=1 if before == after else 2) for before, after in pairwise(WIDTHS)]
        self.layers = nn.Sequential(stem, *stages)


class SplitConv(nn.Sequential):
    """Spatial convolution, batch norm, ReLU, temporal convolution; [B, C_in, T, H, W] -> [B, C_out, t, h, w].

    ``frames`` and ``pixels`` are the kernel sizes over time and space, both odd. ``strides`` are those over time and
    space. Zero padding keeps the size, so that only the strides reduce it.
    """

    def __init__(self, channels_in: int, channels_out: int, frames: int, pixels: int, strides: tuple[int, int]) -> None:
        over_time, over_space = strides
        area, half = pixels * pixels, pixels // 2
        middle = frames * area * channels_in * channels_out // (area * channels_in + frames * channels_out)
        space = (1, pixels, pixels), (1, over_space, over_space), (0, half, half)
        time = (frames, 1, 1), (over_time, 1, 1), (frames // 2, 0, 0)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            spatial=nn.Conv3d(channels_in, middle, *space, bias=False),
            norm=nn.BatchNorm3d(middle),
            relu=nn.ReLU(inplace=True),
            temporal=nn.Conv3d(middle, channels_out, *time, bias=False),
        )
        super().__init__(layers)


class Block(nn.Module):
    """Residual block of two factorized convolutions; ``stride`` applies to T, H and W, in the shortcut too.

    [B, C_in, T, H, W] -> [B, C_out, T/stride, H/stride, W/stride]; with stride 1, C_in must equal C_out.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            SplitConv(channels_in, channels_out, frames=3, pixels=3, strides=(stride, stride)),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
            SplitConv(channels_out, channels_out, frames=3, pixels=3, strides=(1, 1)),
            nn.BatchNorm3d(channels_out),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(SplitConv(channels_in, channels_out, frames=1, pixels=1, strides=(stride, stride)))
            self.shortcut.append(nn.BatchNorm3d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T/stride, H/stride, W/stride]."""
        return functional.relu(self.main(x) + self.shortcut(x), inplace=True)
