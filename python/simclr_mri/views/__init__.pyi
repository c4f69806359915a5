from ._batches import Preprocess as Preprocess
from ._batches import augmented_batch as augmented_batch
from ._batches import plain_batch as plain_batch
from ._custom import CustomViews as CustomViews
from ._custom import check_views as check_views
from ._pairs import Pairs as Pairs

__all__ = ["CustomViews", "Pairs", "Preprocess", "augmented_batch", "plain_batch"]
