from ._batches import Preprocess as Preprocess
from ._batches import augmented_batch as augmented_batch
from ._batches import plain_batch as plain_batch
from ._pairs import Pairs as Pairs

__all__ = ["Pairs", "Preprocess", "augmented_batch", "plain_batch"]
