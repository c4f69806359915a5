from ._bootstrap import METRICS as METRICS
from ._calibration import temperature_scale as temperature_scale
from ._compare import paired_difference as paired_difference
from ._curves import Curve as Curve
from ._curves import curves as curves
from ._evaluate import balanced_accuracy as balanced_accuracy
from ._evaluate import balanced_accuracy_interval as balanced_accuracy_interval
from ._evaluate import evaluate_predictions as evaluate_predictions
from ._evaluate import pool_subjects as pool_subjects
from ._evaluate import softmax as softmax
from ._pooling import Pooled as Pooled
from ._pooling import Repetition as Repetition
from ._pooling import difference_of as difference_of
from ._pooling import join as join
from ._pooling import pooled_difference as pooled_difference
from ._pooling import pooled_metrics as pooled_metrics
from ._records import NAMES as NAMES
from ._records import TOO_FEW as TOO_FEW
from ._records import ClassResult as ClassResult
from ._records import Difference as Difference
from ._records import Estimate as Estimate
from ._records import Evaluation as Evaluation
from ._records import Level as Level

__all__ = [
    "METRICS",
    "NAMES",
    "ClassResult",
    "Curve",
    "Difference",
    "Estimate",
    "Evaluation",
    "Level",
    "balanced_accuracy",
    "curves",
    "evaluate_predictions",
    "paired_difference",
    "pool_subjects",
    "temperature_scale",
]
