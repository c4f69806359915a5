"""ResNets in PyTorch, the peer in parity tests: those that `simclr-mri bench --peer` measures."""

from simclr_mri.bench._resnet_torch import ResNet, load_state, nt_xent

__all__ = ["ResNet", "load_state", "nt_xent"]
