"""The recipe "seed" is called "paper" now: the old name works wherever it may be written, and warns for one version."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from simclr_mri import Classifier, SimCLR, datasets
from simclr_mri._shared import to_json
from simclr_mri.cli import main
from simclr_mri.config import RECIPES, recipe_values
from simclr_mri.learning import read_checkpoint
from simclr_mri.learning._checkpoint import write_checkpoint

SAID = r"recipe 'seed' is called 'paper' now; the old name goes with the next version"
SMALL = {"recipe": "paper", "epochs": 2, "batch_size": 8, "verbose": 0, "n_jobs": 1}


def silent(call):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        return call()


@pytest.mark.parametrize("cls", [SimCLR, Classifier])
def test_in_python(cls):
    with pytest.warns(FutureWarning, match=SAID) as told:
        old = cls(recipe="seed")
    assert told[0].filename == __file__ and len(told) == 1
    new = silent(lambda: cls(recipe="paper"))
    assert old.get_params() == new.get_params() and old.recipe == "paper" and "seed" not in RECIPES
    assert silent(lambda: clone(old)).get_params() == new.get_params()
    with pytest.warns(FutureWarning, match=SAID):
        assert cls().set_params(recipe="seed").get_params() == cls().set_params(recipe="paper").get_params()
    assert recipe_values("seed", cls.section, cls) == recipe_values("paper", cls.section, cls)


def test_the_head_of_that_recipe_too():
    with pytest.warns(FutureWarning, match="head 'seed' is called 'paper' now"):
        assert SimCLR(head="seed").head == "paper"


@pytest.fixture(scope="module")
def ds():
    gray = datasets.phantoms(n_subjects=16, slices=1, image_size=32, task="cdr0")
    return datasets.Dataset(np.repeat(gray.images, 3, axis=3), gray.labels, gray.classes, gray.subjects)


def as_before(folder):
    """Makes a checkpoint one of the version in which the recipe was called "seed"."""
    found = read_checkpoint(folder)
    found.config |= {"recipe": "seed"} | ({"head": "seed"} if "head" in found.config else {})
    write_checkpoint(folder, found)
    assert '"recipe":"seed"' in to_json(found.config).replace(" ", "")


def test_a_stopped_run_of_the_version_before_goes_on_to_the_same_bits(ds, tmp_path):
    whole = silent(lambda: SimCLR("resnet18", **SMALL).fit(ds))
    stopped = SimCLR("resnet18", **SMALL)
    silent(lambda: stopped.fit(ds, checkpoint=tmp_path, callbacks=[Interrupt()]))
    assert not stopped.position_.finished
    as_before(tmp_path)
    for recipe in ("paper", "seed"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = SimCLR("resnet18", **{**SMALL, "recipe": recipe}).fit(ds, checkpoint=tmp_path)
        assert again.position_.finished and len(again.history_) == 2
        one, other = whole.network_.state(), again.network_.state()
        assert all(np.array_equal(one[name], other[name]) for name in one)
        as_before(tmp_path)
    loaded = silent(lambda: SimCLR.load(tmp_path))
    assert loaded.recipe == "paper" and loaded.head == "paper"
    loaded.save(tmp_path / "new")
    assert read_checkpoint(tmp_path / "new").config["recipe"] == "paper"


class Interrupt:
    """Ctrl-C after the first epoch."""

    def on_epoch_end(self, run):
        raise KeyboardInterrupt


def test_a_pickle_of_the_version_before():
    old = SimCLR()
    old.recipe = "seed"
    assert silent(lambda: pickle.loads(pickle.dumps(old))).recipe == "paper"
    assert silent(lambda: copy.deepcopy(old)).recipe == "paper"


def test_in_the_shell_and_in_files(tmp_path, capsys):
    config = tmp_path / "mine.toml"
    config.write_text('recipe = "seed"\n[pretrain]\nhead = "seed"\nepochs = 0\n')
    folder = tmp_path / "data"
    datasets.write_phantoms(folder, n_subjects=16, slices=1, image_size=32)
    more = ["--arch", "resnet18", "--epochs", "0", "--batch-size", "4", "--config", str(config)]
    for i, given in enumerate((["--recipe", "seed"], [])):
        out = tmp_path / f"run{i}"
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert main(["pretrain", str(folder), *given, *more, "--out", str(out)]) == 0
        said = capsys.readouterr().err + " ".join(str(w.message) for w in told)
        assert "recipe 'seed' is called 'paper' now" in said and "head 'seed' is called 'paper' now" in said
        assert read_checkpoint(out).config["recipe"] == read_checkpoint(out).config["head"] == "paper"
