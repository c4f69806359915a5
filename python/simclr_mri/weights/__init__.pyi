from ._errors import CheckpointError as CheckpointError
from ._errors import WeightsError as WeightsError
from ._encoder import BLOCKS as BLOCKS
from ._encoder import Encoder as Encoder
from ._encoder import NoEncoderError as NoEncoderError
from ._encoder import expected_shapes as expected_shapes
from ._encoder import find_encoder as find_encoder
from ._export import export_weights as export_weights
from ._open import open_weights as open_weights
from ._open import read_encoder as read_encoder
from ._read import read_weights as read_weights
from ._resnet import arch_of as arch_of
from ._resnet import match_channels as match_channels
from ._safetensors import Tensors as Tensors
from ._safetensors import TensorToCopy as TensorToCopy
from ._safetensors import read_safetensors as read_safetensors
from ._safetensors import write_safetensors as write_safetensors
from ._stored import safetensors_metadata as safetensors_metadata

__all__ = ["WeightsError", "export_weights", "read_weights"]
