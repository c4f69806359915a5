from ._curves import precision_recall as precision_recall
from ._curves import reliability as reliability
from ._curves import roc as roc
from ._heat import HEAT as HEAT
from ._heat import cam as cam
from ._heat import cam_curves as cam_curves
from ._heat import class_maps as class_maps
from ._heat import heat_colours as heat_colours
from ._heat import overlay as overlay
from ._images import montage as montage
from ._images import views as views
from ._intervals import intervals as intervals
from ._label_curve import label_curve as label_curve
from ._save import save as save
from ._scores import confusion as confusion
from ._scores import embedding as embedding
from ._scores import label_fractions as label_fractions
from ._scores import spread_places as spread_places
from ._speed import speed_and_memory as speed_and_memory
from ._style import COLOURS as COLOURS
from ._style import LINES as LINES
from ._style import MARKERS as MARKERS
from ._style import STYLE as STYLE
from ._style import axes_of_size as axes_of_size
from ._style import draw_tiles as draw_tiles
from ._style import readable_on as readable_on
from ._style import styled as styled
from ._training import collapse as collapse
from ._training import history as history
from ._training import learning_rates as learning_rates

__all__ = [
    "COLOURS",
    "HEAT",
    "LINES",
    "MARKERS",
    "STYLE",
    "cam",
    "cam_curves",
    "class_maps",
    "collapse",
    "confusion",
    "embedding",
    "history",
    "intervals",
    "label_curve",
    "label_fractions",
    "learning_rates",
    "montage",
    "overlay",
    "precision_recall",
    "reliability",
    "roc",
    "save",
    "views",
]
