from ._cam import default_layer as default_layer
from ._cam import grad_cam as grad_cam
from ._checks import CamChecks as CamChecks
from ._checks import check_cams as check_cams
from ._checks import load_checks as load_checks
from ._checks import save_checks as save_checks
from ._result import CamResult as CamResult

__all__ = ["CamChecks", "CamResult", "check_cams", "grad_cam"]
