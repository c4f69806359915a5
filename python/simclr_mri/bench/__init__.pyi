from ._measure import ROWS as ROWS
from ._measure import Measurement as Measurement
from ._measure import Row as Row
from ._measure import measure as measure
from ._peer import busy_note as busy_note
from ._peer import run_peer as run_peer

__all__ = ["ROWS", "Measurement", "Row", "measure", "run_peer"]
