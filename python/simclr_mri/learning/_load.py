"""Any model from its folder, without saying of which kind it is."""

from __future__ import annotations

from pathlib import Path

from .._shared import Precision
from ..weights import CheckpointError
from ._checkpoint import existing_checkpoint, is_own_checkpoint, read_metadata
from ._classifier import Classifier
from ._simclr import SimCLR


def load(path: str | Path, *, n_jobs: int | None = None, precision: Precision | None = None) -> SimCLR | Classifier:
    """Read a fitted model, of whichever kind the file holds.

    Parameters
    ----------
    path : path
        A run folder, or a `.safetensors` file of `save`.
    n_jobs : int or None
        Threads; None for all.
    precision : str or None
        None is the one that it was trained in.

    Returns
    -------
    SimCLR or Classifier

    Raises
    ------
    FileNotFoundError
    CheckpointError
        Not a whole checkpoint of this package.

    Examples
    --------
    >>> import tempfile
    >>> from simclr_mri import SimCLR, datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = SimCLR("resnet18", epochs=0, batch_size=8, verbose=0).fit(ds).save(folder)
    ...     type(load(folder)).__name__
    'SimCLR'
    """
    file = existing_checkpoint(path)
    if not is_own_checkpoint(file):
        raise CheckpointError(
            f"{file}: weights of another program, not a model of simclr_mri. To start from them: "
            f"Classifier(init={str(file)!r})"
        )
    kind = read_metadata(file)["kind"]
    found = {cls.kind: cls for cls in (SimCLR, Classifier)}.get(kind)
    if found is None:
        raise CheckpointError(f"{file}: a checkpoint of kind {kind!r}, which this version does not know")
    return found.load(path, n_jobs=n_jobs, precision=precision)
