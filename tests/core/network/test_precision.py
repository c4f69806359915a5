"""bf16 from end to end: close to fp32, half the memory, the same bits whatever the threads, emulated where it must be.

bf16 has 8 bits: a stored number is off by at most 2**-9 of itself. Errors of the layers add up like a random walk, so
outputs of a network of d stored tensors are off by about sqrt(d) 2**-9, 1 to 3 %; how that compares with PyTorch's bf16
is test_parity_torch.py's business.
"""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

import _testing
from reference.settled import settle
from simclr_mri import Classifier, SimCLR, _core, cli, datasets, grad_cam, split
from simclr_mri._shared import EmulationWarning
from simclr_mri.learning import _callbacks, read_checkpoint
from simclr_mri.learning._simclr_task import SimCLRTask

BEST_ISA = _core.cpu_info()["isa"]
SGD = {"lr": 0.05, "momentum": 0.9, "seed": 3}
SIMCLR = {**SGD, "temperature": 0.5}
CASES = {
    "resnet18": (18, 8, {"image_size": 64, "head": [(4, 0.0, False)]}),
    "resnet50_flat": (50, 4, {"image_size": 64, "in_channels": 3, "features": "flatten", "head": [(8, 0.0, False)]}),
}


def images(n: int, size: int = 32, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size, size, channels)).astype(np.float32)


def labels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, n).astype(np.int32)


def tiny(**options) -> _core.Network:
    return _core.Network(18, **{"image_size": 32, "head": [(4, 0.0, False)], "n_threads": 1, **options})


def everything(network: _core.Network, trainer: _core.Trainer) -> dict[str, np.ndarray]:
    gradients = {"gradient/" + name: value for name, value in trainer.gradients().items()}
    return {**network.state(), **trainer.state(), **gradients, "output": trainer.output()}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def distance(a: np.ndarray | dict, b: np.ndarray | dict) -> float:
    """Of arrays, or of all arrays together, relative to the length of b."""
    a, b = (x if isinstance(x, dict) else {"": x} for x in (a, b))
    square = sum(float(((a[k].astype(np.float64) - b[k]) ** 2).sum()) for k in b)
    return np.sqrt(square / sum(float((b[k].astype(np.float64) ** 2).sum()) for k in b))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def one_step(precision: str, case: str = "resnet18", **options):
    """(result, network, trainer) of a step of a settled network that leaves the weights as they are."""
    depth, n, config = CASES[case]
    network = _core.Network(depth, **config)
    settle(network)
    trainer = _core.Trainer(network, batch=n, precision=precision, **options)
    x = images(n, config["image_size"], config.get("in_channels", 1))
    result = trainer.supervised_step(x, labels(n), lr=0.0, momentum=0.0, seed=0, step=0)
    return result, network, trainer


# ---- close to fp32 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_close_to_fp32(case):
    (exact, network, reference), (result, other, trainer) = (one_step(p, case) for p in ("fp32", "bf16"))
    assert result["loss"] == pytest.approx(exact["loss"], rel=0.01)
    assert not np.array_equal(trainer.output(), reference.output())
    assert distance(trainer.gradients(), reference.gradients()) < 0.05
    statistics = {k: v for k, v in network.state().items() if "running" in k}
    assert distance({k: other.state()[k] for k in statistics}, statistics) < 0.02


@pytest.mark.parametrize("case", CASES)
def test_embeddings_are_close_to_fp32(case):
    depth, n, config = CASES[case]
    network = _core.Network(depth, **config)
    x = images(n, config["image_size"], config.get("in_channels", 1))
    for output in ("features", "head"):
        exact, found = (network.forward(x, output=output, precision=p) for p in ("fp32", "bf16"))
        assert found.dtype == np.float32 and found.shape == exact.shape
        assert cosines(found, exact).min() > 0.999
        assert not np.array_equal(found, exact)
    again = network.forward(x, output="head", precision="fp32", batch_size=3)  # the cached plan is not mistaken
    assert distance(again, network.forward(x)) < 1e-5


@pytest.mark.parametrize("features", ["avgpool", "flatten"])
def test_explain_hands_out_fp32(features):
    network = tiny(image_size=64, features=features)
    settle(network)
    x, targets = images(5, 64), np.array([0, 1, 2, 3, 0])
    for stage in ("stem", "layer1", "layer2", "layer3", "layer4"):
        exact, found = (network.explain(x, targets, stage=stage, precision=p, batch_size=2) for p in ("fp32", "bf16"))
        for ours, expected in zip(found, exact, strict=True):
            assert ours.dtype == np.float32 and ours.shape == expected.shape
            assert distance(ours, expected) < 0.1, stage  # of the stem: forward and back through the whole network
        np.testing.assert_array_equal(found[0].view(np.uint32) & 0xFFFF, 0)  # widened, not computed again
    # Inference normalises before it rounds, explaining after: bit for bit they agree in fp32 only.
    np.testing.assert_array_equal(exact[2], network.forward(x, batch_size=2))
    forward = network.forward(x, precision="bf16", batch_size=2)
    assert distance(found[2], forward) < 2 * distance(forward, exact[2])


# ---- training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharpness", ["none", "asam"])
def test_the_loss_falls(sharpness):
    network = tiny(head=[(64, 0.1, True), (16, 0.0, False)], head_name="projection")
    trainer = _core.Trainer(network, batch=16, bn_groups=2, sharpness=sharpness, precision="bf16")
    rho = {"rho": 0.05} if sharpness == "asam" else {}
    losses = [trainer.simclr_step(images(16), **SIMCLR, **rho, step=i)["loss"] for i in range(12)]
    assert abs(losses[0] - np.log(15)) < 0.5 and min(losses[-3:]) < 0.7 * losses[0]


def test_same_bits_with_any_number_of_threads(isa_bf16):
    results = []
    for n_threads in (1, 2, 3):
        network = tiny(head=[(32, 0.5, True), (16, 0.5, False)], n_threads=n_threads, image_size=40)
        trainer = _core.Trainer(network, batch=4, bn_groups=2, sharpness="asam", weight_decay=1e-4, precision="bf16")
        trainer.simclr_step(images(4, 40), **SIMCLR, step=0, rho=0.5)
        maps = network.explain(images(3, 40), None, stage="layer2", precision="bf16")
        results.append({**everything(network, trainer), **{str(i): part for i, part in enumerate(maps)}})
    assert same(results[0], results[1]) and same(results[0], results[2])


@pytest.mark.skipif(BEST_ISA == "ref", reason="one instruction set only")
def test_instruction_sets_agree(isa_bf16):
    """Sums in another order round to another bfloat16 now and then, so they agree within what bf16 itself costs."""
    _testing.set_isa(BEST_ISA)
    exact, best = one_step("fp32")[2], one_step("bf16")[2]
    _testing.set_isa(isa_bf16)
    other = one_step("bf16")[2]
    for a, b, c in ((x.gradients(), y.gradients(), z.gradients()) for x, y, z in [(other, best, exact)]):
        assert distance(a, b) < distance(b, c)
    assert distance(other.output(), best.output()) < distance(best.output(), exact.output())


def test_micro_batches_are_the_whole_batch_in_groups():
    """As in fp32, but for gradients that are added in another order."""
    found = []
    for options in ({"micro_batch": 4}, {"bn_groups": 3}):
        network = tiny(image_size=64)
        settle(network)
        trainer = _core.Trainer(network, batch=12, precision="bf16", **options)
        result = trainer.simclr_step(images(12, 64), **{**SIMCLR, "lr": 0.0}, step=0)
        found.append((result, everything(network, trainer)))
    (one, parts), (two, whole) = found
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)
    assert distance(parts["output"], whole["output"]) < 0.02
    assert distance(*({k: v for k, v in x.items() if k.startswith("gradient/")} for x in (parts, whole))) < 0.05


def test_smaller_batches_in_a_larger_trainer():
    results = []
    for batch in (10, 4):
        network = tiny()
        trainer = _core.Trainer(network, batch=batch, precision="bf16")
        trainer.supervised_step(images(4), labels(4), **SGD, step=0)
        results.append(everything(network, trainer))
    assert same(*results)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_state_round_trip_continues_to_the_same_bits(optimizer):
    options = {"batch": 4, "optimizer": optimizer, "weight_decay": 0.01, "precision": "bf16"}
    network = tiny(head=[(4, 0.5, False)])
    trainer = _core.Trainer(network, **options)
    trainer.supervised_step(images(4), labels(4), **SGD, step=1)
    weights, state = network.state(), trainer.state()
    assert all(array.dtype == np.float32 for array in weights.values())
    trainer.supervised_step(images(4), labels(4), **SGD, step=2)
    other = tiny(head=[(4, 0.5, False)], seed=9)
    other.load(weights)
    resumed = _core.Trainer(other, **options)
    resumed.load(state)
    resumed.supervised_step(images(4), labels(4), **SGD, step=2)
    assert same(everything(network, trainer), everything(other, resumed))


def test_not_a_number_changes_nothing():
    network = tiny()
    trainer = _core.Trainer(network, batch=4, precision="bf16")
    before = everything(network, trainer)
    bad = images(4)
    bad[2, 5, 5] = np.nan
    with pytest.raises(FloatingPointError, match="loss is nan in step 1"):
        trainer.supervised_step(bad, labels(4), **SGD, step=1)
    after = everything(network, trainer)
    assert all(np.array_equal(before[k], after[k]) for k in before if not k.startswith(("gradient", "output")))


def test_an_unknown_precision_is_named():
    network = tiny()
    for call in (
        lambda: network.forward(images(1), precision="fp16"),
        lambda: network.explain(images(1), None, precision="fp16"),
        lambda: network.memory_bytes("train", 1, 1, "fp16"),
        lambda: _core.Trainer(network, batch=1, precision="fp16"),
    ):
        with pytest.raises(ValueError, match="precision: expected 'fp32' or 'bf16', got 'fp16'"):
            call()
    with pytest.raises(TypeError):
        network.forward(images(1), precision=16)


# ---- memory --------------------------------------------------------------------------------------------------------


RESIDENT = """
import psutil
from simclr_mri import _core
network = _core.Network(18, image_size=128, head=[(4, 0.0, False)], n_threads=1)
before = psutil.Process().memory_info().rss
trainer = _core.Trainer(network, batch=16, sharpness="sam", precision="bf16")
print(psutil.Process().memory_info().rss - before, trainer.memory_bytes)
"""


def test_memory_is_as_measured():
    pytest.importorskip("psutil")
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    gained, said = map(int, done.stdout.split())
    assert abs(gained / said - 1) < 0.05


@pytest.mark.skipif(BEST_ISA not in ("avx512bf16", "amx"), reason="emulation needs fp32 copies of a layer beside")
def test_activations_take_half():
    network = _core.Network(50, image_size=128, head=[(4, 0.0, False)])
    for kind in ("train", "explain"):
        assert network.memory_bytes(kind, 32, 1, "bf16") < 0.55 * network.memory_bytes(kind, 32)


# ---- estimators and commands ---------------------------------------------------------------------------------------

SMALL = {"arch": "resnet18", "batch_size": 8, "verbose": 0, "precision": "bf16"}
SSL = {**SMALL, "epochs": 2, "lr": 0.05, "warmup_epochs": 1, "knn_every": 1}
CLF = {**SMALL, "epochs": 2}


@pytest.fixture(scope="module")
def parts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=24, slices=2, image_size=32, task="3class")
        return list(split(ds, by="subject", seed=0))


def test_a_killed_run_goes_on_to_the_same_bits_in_the_same_precision_only(parts, tmp_path, monkeypatch):
    unbroken = SimCLR(**SSL).fit(parts[0], parts[1])
    assert np.isfinite(unbroken.history_.column("loss")).all()
    assert 0 <= unbroken.history_[-1]["knn_accuracy"] <= 1
    plain, count = SimCLRTask.step, [0]

    def step(self, *args):
        count[0] += 1
        if count[0] > 3:
            raise KeyError("stands for a kill")
        monkeypatch.setattr(_callbacks, "SAVE_EVERY_S", 0.0)
        return plain(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(SimCLRTask, "step", step)
        with pytest.raises(KeyError):
            SimCLR(**SSL).fit(parts[0], parts[1], checkpoint=tmp_path)
    assert read_checkpoint(tmp_path).config["precision"] == "bf16"
    with pytest.raises(ValueError, match=r"holds a run with precision='bf16' \(now 'fp32'\)"):
        SimCLR(**{**SSL, "precision": "fp32"}).fit(parts[0], parts[1], checkpoint=tmp_path)
    resumed = SimCLR(**SSL).fit(parts[0], parts[1], checkpoint=tmp_path)
    assert same(resumed.network_.state(), unbroken.network_.state())
    assert resumed.history_.column("loss") == unbroken.history_.column("loss")


def test_a_classifier_keeps_its_precision_and_may_be_judged_in_another(parts, tmp_path):
    clf = Classifier(SimCLR(**{**SSL, "precision": "fp32"}).fit(parts[0]), **CLF).fit(parts[0], checkpoint=tmp_path)
    again, exact = Classifier.load(tmp_path), Classifier.load(tmp_path, precision="fp32")
    assert again.precision == "bf16" and exact.precision == "fp32"
    np.testing.assert_array_equal(again.predict_proba(parts[2]), clf.predict_proba(parts[2]))
    difference = np.abs(exact.predict_proba(parts[2]) - clf.predict_proba(parts[2])).max()
    assert 0 < difference < 0.05
    maps, others = (grad_cam(model, parts[2][:4], layer="layer2").maps for model in (clf, exact))
    assert maps.dtype == np.float32 and 0 < np.abs(maps - others).mean() < 0.05
    with pytest.raises(ValueError, match="precision='fp16' is unknown"):
        Classifier.load(tmp_path, precision="fp16")
    with pytest.raises(ValueError, match="precision='fp16' is unknown"):
        Classifier(**{**CLF, "precision": "fp16"}).fit(parts[0])


@pytest.mark.skipif(BEST_ISA == "ref", reason="needs a second instruction set")
def test_emulation_is_said_once(parts):
    _testing.set_isa("avx2")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for _ in range(2):
                Classifier(**{**CLF, "epochs": 1}).fit(parts[0][:8])
        told = [w for w in caught if issubclass(w.category, EmulationWarning)]
        assert len(told) == 1 and "'avx2'" in str(told[0].message) and "slower" in str(told[0].message)
    finally:
        _testing.set_isa(BEST_ISA)
    with warnings.catch_warnings():
        warnings.simplefilter("error", EmulationWarning)
        Classifier(**{**CLF, "precision": "fp32", "epochs": 0}).fit(parts[0][:8])


def test_commands(tmp_path, capsys):
    data, run = tmp_path / "data", tmp_path / "run"
    datasets.write_phantoms(data, seed=0, n_subjects=24, slices=1, image_size=32)
    words = ["finetune", str(data), "--task", "cdr0", "--arch", "resnet18", "--epochs", "1", "--verbose", "0"]
    assert cli.main([*words, "--precision", "bf16", "--out", str(run)]) == 0
    assert read_checkpoint(run).config["precision"] == "bf16"
    assert cli.main(["evaluate", str(run), "--n-bootstrap", "10"]) == 0
    assert cli.main(["evaluate", str(run), "--n-bootstrap", "10", "--precision", "fp32"]) == 0
    assert cli.main(["explain", str(run), "--n-images", "2", "--checks", "0", "--precision", "fp32"]) == 0
    assert cli.main([*words, "--precision", "fp32", "--out", str(run)]) != 0
    assert "precision" in capsys.readouterr().err
