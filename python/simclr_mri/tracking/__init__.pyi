from ._tracking import MLflow as MLflow
from ._tracking import TensorBoard as TensorBoard
from ._tracking import Tracker as Tracker
from ._tracking import WandB as WandB
from ._tracking import tracker as tracker

__all__ = ["MLflow", "TensorBoard", "Tracker", "WandB", "tracker"]
