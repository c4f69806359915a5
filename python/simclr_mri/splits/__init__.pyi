from ._copies import BLANK as BLANK
from ._copies import BLIND as BLIND
from ._copies import MEASURED as MEASURED
from ._copies import SOUGHT as SOUGHT
from ._copies import Copies as Copies
from ._copies import find_copies as find_copies
from ._copy_search import N_CANDIDATES as N_CANDIDATES
from ._deal import units_of as units_of
from ._fractions import draw_labelled as draw_labelled
from ._fractions import label_fractions as label_fractions
from ._fractions import nested_order as nested_order
from ._kfold import Folds as Folds
from ._kfold import kfold as kfold
from ._neighbours import MAX_WORKERS as MAX_WORKERS
from ._neighbours import Cells as Cells
from ._neighbours import workers as workers
from ._overlap import LeakageError as LeakageError
from ._overlap import Overlap as Overlap
from ._overlap import check_overlap as check_overlap
from ._overlap import describe_overlap as describe_overlap
from ._overlap import find_overlap as find_overlap
from ._split import SET_NAMES as SET_NAMES
from ._split import LeakageWarning as LeakageWarning
from ._split import Split as Split
from ._split import given_split as given_split
from ._split import seed_split as seed_split
from ._split import split as split

__all__ = [
    "SET_NAMES",
    "Copies",
    "Folds",
    "LeakageError",
    "LeakageWarning",
    "Overlap",
    "Split",
    "check_overlap",
    "find_copies",
    "find_overlap",
    "given_split",
    "kfold",
    "label_fractions",
    "seed_split",
    "split",
]
