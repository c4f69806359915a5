"""Whether maps change when the network's weights do, and how alike two maps are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._shared import CamMethod
from ..datasets import Dataset
from ._cam import grad_cam, layer_names
from ._result import CamResult
from ._weighting import CamWeights

SAME_MAP = 0.5  # rank correlation above which a map of random weights counts as the same


_SSIM_WINDOW_PX = 7


def randomised_weights(
    model: Any, cams: CamResult, method: CamMethod | CamWeights, images: Dataset, seed: int
) -> list[dict[str, Any]]:
    """Likeness of the maps to those of the same classes after weights from the head downwards are drawn anew."""
    trained = model.network_.state()
    other = copy.copy(model)
    # Any seed but the one that the training began from.
    other.model_ = model.model_.with_random_weights(seed + 1_000_003, model.n_jobs)
    fresh = other.network_.state()
    stages = layer_names(cams.layer)
    found = []
    kept = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    for n_kept, layers in ((6, "the head"), (5, "layer4 and up"), (4, "layer3 and up"), (0, "all layers")):
        prefixes = tuple(f"{name}." for name in kept[:n_kept])
        other.network_.load({k: trained[k] if k.startswith(prefixes) else v for k, v in fresh.items()})
        maps = np.empty_like(cams.maps)
        for target in np.unique(cams.targets):
            mine = np.flatnonzero(cams.targets == target)
            maps[mine] = grad_cam(other, images[mine], layer=stages, method=method, target=int(target)).maps
        both = (np.ptp(maps, axis=(1, 2)) > 0) & (np.ptp(cams.maps, axis=(1, 2)) > 0)
        pairs = list(zip(cams.maps[both], maps[both], strict=True))
        found.append(
            {
                "layers": layers,
                "rank_correlation": float(np.mean([rank_correlation(a, b) for a, b in pairs])) if pairs else np.nan,
                "ssim": float(np.mean([ssim(a, b) for a, b in pairs])) if pairs else np.nan,
                "images": len(pairs),
            }
        )
    return found


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of two maps; NaN if one is constant."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two maps in [0, 1] (Wang et al., IEEE TIP 2004) with even 7 x 7 windows."""
    from scipy.ndimage import uniform_filter

    def mean(x: np.ndarray) -> np.ndarray:
        return uniform_filter(x, min(_SSIM_WINDOW_PX, *x.shape))

    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = 0.01**2, 0.03**2
    ma, mb = mean(a), mean(b)
    va, vb, vab = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return float(np.mean((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))
