from ..weights import CheckpointError as CheckpointError
from ._callbacks import Callback as Callback
from ._callbacks import EarlyStopping as EarlyStopping
from ._checkpoint import CHECKPOINT_FILE as CHECKPOINT_FILE
from ._checkpoint import CHECKPOINT_FORMAT as CHECKPOINT_FORMAT
from ._checkpoint import checkpoint_path as checkpoint_path
from ._checkpoint import is_checkpoint as is_checkpoint
from ._checkpoint import read_checkpoint as read_checkpoint
from ._classifier import Classifier as Classifier
from ._crossval import cross_val_proba as cross_val_proba
from ._find_lr import LearningRates as LearningRates
from ._find_lr import find_learning_rate as find_learning_rate
from ._history import History as History
from ._load import load as load
from ._loop import Loop as Loop
from ._loop import TrainingInterrupted as TrainingInterrupted
from ._model import Model as Model
from ._monitor import Collapse as Collapse
from ._monitor import CollapseWarning as CollapseWarning
from ._order import epoch_order as epoch_order
from ._predict_table import PredictionTable as PredictionTable
from ._predict_table import check_table_path as check_table_path
from ._predictions import predictions_csv as predictions_csv
from ._predictions import read_predictions as read_predictions
from ._probe import LinearProbe as LinearProbe
from ._prune import prune as prune
from ._prune import spare_bytes as spare_bytes
from ._ranks import RankError as RankError
from ._ranks import Ranks as Ranks
from ._ranks import world as world
from ._runlog import RunLog as RunLog
from ._seen import PRETRAINED as PRETRAINED
from ._seen import TRAINED as TRAINED
from ._seen import image_keys as image_keys
from ._seen import pretrained_keys as pretrained_keys
from ._seen import seen_keys as seen_keys
from ._seen import seen_note as seen_note
from ._seen import share_of_training as share_of_training
from ._simclr import SimCLR as SimCLR
from ._simclr import projection_head as projection_head
from ._task import Estimate as Estimate

__all__ = [
    "Callback",
    "CheckpointError",
    "Classifier",
    "Collapse",
    "CollapseWarning",
    "EarlyStopping",
    "Estimate",
    "History",
    "LearningRates",
    "LinearProbe",
    "Loop",
    "Model",
    "PredictionTable",
    "RankError",
    "SimCLR",
    "TrainingInterrupted",
    "cross_val_proba",
    "find_learning_rate",
    "load",
]
