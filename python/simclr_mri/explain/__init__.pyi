from ._cam import default_layer as default_layer
from ._cam import grad_cam as grad_cam
from ._checks import CamChecks as CamChecks
from ._checks import check_cams as check_cams
from ._checks import load_checks as load_checks
from ._checks import save_checks as save_checks
from ._result import CamResult as CamResult
from ._viewer import Viewer as Viewer
from ._viewer import view as view

__all__ = ["CamChecks", "CamResult", "Viewer", "check_cams", "grad_cam", "view"]
