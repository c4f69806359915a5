"""Networks in which rounding is all that can differ between two programs.

A ReLU or a maximum whose inputs lie within rounding of a tie has two right gradients, and a freshly drawn ResNet-50 has
millions of them: PyTorch's own float32 gradients are then a few per cent from its float64 ones in single tensors. In a
settled network each channel's ReLU is far on one side for all pixels (some channels on, some off) and residual branches
are small.
"""

from __future__ import annotations

import numpy as np

from simclr_mri import _core


def settle(network: _core.Network) -> None:
    """See the module's text. Along a stage's trunk, sums of block after block, a channel keeps its side."""
    rng = np.random.default_rng(0)
    state = network.state()
    sides: dict[str, np.ndarray] = {}
    for name in [name for name in state if name.endswith(".bias") and state[name.replace("bias", "weight")].ndim == 1]:
        last_norm = "bn3" if name.replace("bn2", "bn3") in state else "bn2"
        ends_block = name.startswith("layer") and last_norm in name
        trunk = name.split(".")[0] if ends_block or "downsample" in name else name
        size = len(state[name])
        state[name] = 7 * sides.setdefault(trunk, rng.choice([-1.0, 1.0], size, p=[0.3, 0.7])).astype(np.float32)
        if ends_block:
            state[name.replace("bias", "weight")][:] = 0.3
    network.load(state)
