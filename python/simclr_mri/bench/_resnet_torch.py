"""ResNets in PyTorch from He et al. (CVPR 2016), with torchvision's names and shapes: the peer of bench and tests.

The only module that needs PyTorch to be imported; nothing loads it before a comparison is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Block(nn.Module):
    """Basic (two 3x3) or bottleneck (1x1, 3x3, 1x1; stride on the 3x3) residual block."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        windows = (1, 3, 1) if bottleneck else (3, 3)
        strided = 1 if bottleneck else 0
        sizes = [channels, *[width] * (len(windows) - 1), out]
        self.n_convs = len(windows)
        for i, window in enumerate(windows):
            step = stride if i == strided else 1
            conv = nn.Conv2d(sizes[i], sizes[i + 1], window, step, window // 2, bias=False)
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(sizes[i + 1]))
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i in range(1, self.n_convs + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.n_convs:
                y = torch.relu(y)
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """ResNet with the head of `_core.Network`: rows (out_features, dropout, relu)."""

    def __init__(
        self,
        depth: int,
        *,
        image_size: int,
        in_channels: int = 1,
        features: str = "avgpool",
        head: Sequence[tuple[int, float, bool]] = (),
        head_name: str = "fc",
    ) -> None:
        super().__init__()
        bottleneck = depth >= 50
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels, side = 64, (image_size + 3) // 4
        for stage, n_blocks in enumerate(STAGES[depth]):
            blocks = []
            for i in range(n_blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(Block(channels, 64 << stage, stride, bottleneck))
                channels = (64 << stage) * (4 if bottleneck else 1)
                side = (side + stride - 1) // stride
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.features = features
        size = channels * (side * side if features == "flatten" else 1)
        layers: list[nn.Linear] = []
        for out, _, _ in head:
            layers.append(nn.Linear(size, out))
            size = out
        if layers:
            setattr(self, head_name, layers[0] if len(layers) == 1 else nn.Sequential(*layers))
        self.rows, self.layers = list(head), [layers]  # a list in a list: not registered twice

    def stages(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs of "stem" and "layer1" to "layer4"; images are (n, H, W, C)."""
        x = self.pool(torch.relu(self.bn1(self.conv1(images.permute(0, 3, 1, 2)))))
        found = {"stem": x}
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = found[name] = getattr(self, name)(x)
        return found

    def apply_head(self, x: torch.Tensor, masks: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """masks: for each layer, what dropout multiplies its input by; none: no dropout."""
        x = x.flatten(1) if self.features == "flatten" else x.mean((2, 3))
        for i, (layer, (_, _, relu)) in enumerate(zip(self.layers[0], self.rows, strict=True)):
            x = layer(x * masks[i] if masks else x)
            x = torch.relu(x) if relu else x
        return x

    def forward(self, images: torch.Tensor, masks: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        return self.apply_head(self.stages(images)["layer4"], masks)


def nt_xent(z: torch.Tensor, temperature: float) -> torch.Tensor:
    """NT-Xent (Chen et al., 2020, section 2.1) of rows i and i + n."""
    z = nn.functional.normalize(z, dim=1)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z)).roll(len(z) // 2)
    return nn.functional.cross_entropy(similarity, partner)


def load_state(model: nn.Module, state: Mapping[str, np.ndarray]) -> None:
    """Weights and running statistics of a `_core.Network` into the model."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
