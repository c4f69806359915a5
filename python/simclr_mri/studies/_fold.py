"""One split of a study, with the examples whose heat maps are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import splits as _splits
from ..datasets import Dataset, spread_examples
from ..learning import SimCLR
from ._rates import held_back

N_EXAMPLES = 12  # images whose heat maps are kept for every arm


@dataclass
class Fold:
    """A split with its data sets, its folder, and the pretrained network of the seed that is at work."""

    index: int
    split: _splits.Split
    folder: Path
    train: Dataset
    val: Dataset | None
    test: Dataset
    examples: Dataset
    ssl: SimCLR | None = None
    ssl_seed: int | None = None

    @classmethod
    def of(cls, index: int, split: _splits.Split, folder: Path) -> Fold:
        test = split.test
        return cls(index, split, folder, split.train, split.val, test, spread_examples(test, N_EXAMPLES))

    def choosing(self) -> tuple[Dataset, Dataset]:
        """What rates are tried on: (train, validation)."""
        if self.val is not None:
            return self.train, self.val
        return held_back(self.train, self.split.unit, self.split.seed)
