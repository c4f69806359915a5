from ._arm import Arm as Arm
from ._compare import Comparison as Comparison
from ._compare import compare as compare
from ._curve_page import label_curve_report as label_curve_report
from ._curve_result import CurveDifference as CurveDifference
from ._curve_result import LabelCurve as LabelCurve
from ._label_curve import label_curve as label_curve
from ._looks import LOOKS_FILE as LOOKS_FILE
from ._looks import model_digest as model_digest
from ._looks import record_look as record_look
from ._looks import record_of as record_of
from ._model_card import ModelCard as ModelCard
from ._model_card import model_card as model_card
from ._page import study_report as study_report
from ._result import StudyResult as StudyResult
from ._starts import Start as Start
from ._starts import same_intensities as same_intensities
from ._study import study as study

__all__ = [
    "Arm",
    "Comparison",
    "CurveDifference",
    "LabelCurve",
    "ModelCard",
    "Start",
    "StudyResult",
    "compare",
    "label_curve",
    "label_curve_report",
    "model_card",
    "same_intensities",
    "study",
    "study_report",
]
