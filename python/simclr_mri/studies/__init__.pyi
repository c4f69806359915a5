from ._arm import Arm as Arm
from ._looks import LOOKS_FILE as LOOKS_FILE
from ._looks import record_look as record_look
from ._looks import record_of as record_of
from ._page import study_report as study_report
from ._result import StudyResult as StudyResult
from ._study import study as study

__all__ = ["Arm", "StudyResult", "study", "study_report"]
