from ._errors import CheckpointError as CheckpointError
from ._errors import WeightsError as WeightsError
from ._export import export_weights as export_weights
from ._read import read_weights as read_weights
from ._resnet import arch_of as arch_of
from ._resnet import match_channels as match_channels
from ._safetensors import Tensors as Tensors
from ._safetensors import TensorToCopy as TensorToCopy
from ._safetensors import read_safetensors as read_safetensors
from ._safetensors import write_safetensors as write_safetensors

__all__ = ["WeightsError", "export_weights", "read_weights"]
