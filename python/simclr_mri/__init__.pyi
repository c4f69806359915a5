from . import audits as audits
from . import bench as bench
from . import cli as cli
from . import config as config
from . import datasets as datasets
from . import demo as demo
from . import explain as explain
from . import learning as learning
from . import metrics as metrics
from . import plot as plot
from . import splits as splits
from . import studies as studies
from . import tracking as tracking
from . import views as views
from . import weights as weights
from ._shared import Report as Report
from ._shared import __version__ as __version__
from .audits import Audit as Audit
from .audits import audit as audit
from .cli import show_versions as show_versions
from .datasets import Dataset as Dataset
from .demo import run_demo as run_demo
from .explain import CamChecks as CamChecks
from .explain import CamResult as CamResult
from .explain import Viewer as Viewer
from .explain import check_cams as check_cams
from .explain import grad_cam as grad_cam
from .explain import view as view
from .learning import Callback as Callback
from .learning import Classifier as Classifier
from .learning import EarlyStopping as EarlyStopping
from .learning import History as History
from .learning import LearningRates as LearningRates
from .learning import LinearProbe as LinearProbe
from .learning import SimCLR as SimCLR
from .learning import TrainingInterrupted as TrainingInterrupted
from .learning import cross_val_proba as cross_val_proba
from .learning import find_learning_rate as find_learning_rate
from .learning import load as load
from .metrics import evaluate_predictions as evaluate_predictions
from .splits import Split as Split
from .splits import kfold as kfold
from .splits import label_fractions as label_fractions
from .splits import split as split
from .studies import Comparison as Comparison
from .studies import LabelCurve as LabelCurve
from .studies import ModelCard as ModelCard
from .studies import StudyResult as StudyResult
from .studies import compare as compare
from .studies import label_curve as label_curve
from .studies import model_card as model_card
from .studies import study as study
from .studies import study_report as study_report
from .tracking import MLflow as MLflow
from .tracking import TensorBoard as TensorBoard
from .tracking import WandB as WandB
from .weights import CheckpointError as CheckpointError
from .weights import export_onnx as export_onnx
from .weights import export_weights as export_weights
from .weights import read_weights as read_weights

__all__ = [
    "Audit",
    "Callback",
    "CamChecks",
    "CamResult",
    "CheckpointError",
    "Classifier",
    "Comparison",
    "Dataset",
    "EarlyStopping",
    "History",
    "LabelCurve",
    "LearningRates",
    "LinearProbe",
    "MLflow",
    "ModelCard",
    "Report",
    "SimCLR",
    "Split",
    "StudyResult",
    "TensorBoard",
    "TrainingInterrupted",
    "Viewer",
    "WandB",
    "__version__",
    "audit",
    "check_cams",
    "compare",
    "cross_val_proba",
    "datasets",
    "evaluate_predictions",
    "export_onnx",
    "export_weights",
    "find_learning_rate",
    "grad_cam",
    "kfold",
    "label_curve",
    "label_fractions",
    "load",
    "metrics",
    "model_card",
    "plot",
    "read_weights",
    "run_demo",
    "show_versions",
    "split",
    "splits",
    "study",
    "study_report",
    "view",
]
