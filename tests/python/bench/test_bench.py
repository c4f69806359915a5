"""The bench's figures: what is counted, what a report says of configurations that fail, and the picture."""

from __future__ import annotations

import subprocess
import sys

import pytest

from simclr_mri import SimCLR, _shared, bench, datasets
from simclr_mri.bench import _peer
from simclr_mri.bench._measure import head_of, images_of
from simclr_mri.bench._runtimes import RUNTIMES, runtime_step
from simclr_mri.plot import _speed


def found(**change) -> dict:
    """As run_peer measures it."""
    side = {"seconds": 0.5, "fastest": 0.4, "per_s": 64.0, "peak_bytes": 400_000_000}
    peer = {**side, "seconds": 1.0, "per_s": 32.0, "peak_bytes": 800_000_000}
    result = {
        "row": "supervised",
        "title": bench.ROWS["supervised"].title,
        "precision": "bf16",
        "sides": {"ours": side, "tuned": peer, "compiled": {"failed": "no C++ compiler"}},
        "flops": 1e12,
        "peak_flops": 4e12,
        "isa": "amx",
        "best_peer": "tuned",
        "ratio": 2.0,
        "memory_ratio": 0.5,
    }
    return {**result, **change}


def test_the_head_is_the_one_that_simclr_trains():
    ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32)
    trained = SimCLR("resnet18", epochs=0, batch_size=2, verbose=0).fit(ds)
    row = bench.Row("x", "", 18, 32, 4, "simclr")
    assert [tuple(layer) for layer in trained.network_config_["head"]] == head_of(row)
    assert head_of(bench.ROWS["simclr"]) == [(2048, 0.0, True), (128, 0.0, False)]


def test_a_report_says_which_was_best_and_what_failed():
    text = _peer.report(found())
    assert "torch, compiled      failed: no C++ compiler" in text
    assert "2000 GFLOP/s" in text and "50% of 4000 GFLOP/s (amx" in text
    assert "2.00 times the best of PyTorch's (tuned), 0.50 of its memory" in text


def test_the_picture():
    matplotlib = pytest.importorskip("matplotlib")
    alone = {name: value for name, value in found().items() if name not in ("best_peer", "ratio", "memory_ratio")}
    for results in ([found(), found(precision="fp32")], [{**alone, "sides": {"ours": found()["sides"]["ours"]}}]):
        ax = _speed.speed_and_memory(results)
        texts = [text.get_text() for text in ax.texts]
        assert len(texts) == sum(_speed._n_measured(one) for one in results) and "64.0/s" in texts[0]
        matplotlib.pyplot.close(ax.figure)


def test_a_ratio_of_a_busy_machine_is_marked():
    assert "NOT TO BE QUOTED: other programs use 40%" in _peer.report(found(busy=0.4))
    assert "QUOTED" not in _peer.report(found(busy=0.02))
    assert "not to be quoted" in bench.busy_note(0.4) and "quoted" not in bench.busy_note(0.02)


def test_how_busy_the_machine_is_is_measured():
    assert 0 <= _shared.busy_share(0.05) <= 1
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert _shared.busy_share(0.3) > 0.5 / 256
    finally:
        busy.kill()
        busy.wait()


def test_without_pytorch_the_way_is_shown(monkeypatch):
    monkeypatch.setattr(_peer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"PyTorch, which is not installed\. Type: pip install torch"):
        bench.run_peer(("resnet18",), ("fp32",), 1, None, False)


def test_the_peer_runs_from_the_package_alone(monkeypatch, tmp_path):
    """In a folder without a source tree; the two programs answer with numbers."""
    pytest.importorskip("torch", reason="measures PyTorch")
    monkeypatch.chdir(tmp_path)
    row = bench.Row("tiny", "ResNet-18, 32 px", 18, 32, 4, "simclr")
    result = _peer.measure_beside(row, "fp32", rounds=1, threads=1, peers=["default"])
    assert result["sides"]["ours"]["seconds"] > 0 and result["sides"]["default"]["seconds"] > 0, result
    assert result["ratio"] > 0 and 0 <= result["busy"] <= 1 and result["flops"] > 0


def test_a_measurement_adds_up():
    one = bench.measure(bench.ROWS["resnet18"], rounds=1, n_jobs=1)
    assert one.per_s == pytest.approx(64 / one.seconds)
    forward = sum(flops for operation, _, _, flops in one.operations if operation == "conv forward")
    first = 2 * 64 * 32 * 32 * 64 * 49  # the images have no gradient
    assert one.flops == pytest.approx(3 * forward - first) and one.peak_flops > 1e8
    assert "conv1.weight" in one.layer_table() and one.row.title in str(one)
    assert "operations of direct convolution, of which Winograd's method saves a part" in str(one)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_infers_the_network_that_pytorch_does(name):
    torch = pytest.importorskip("torch")
    for package in ("onnx", RUNTIMES[name].package):
        pytest.importorskip(package)
    from simclr_mri.bench._resnet_torch import ResNet

    row = bench.Row("x", "", 18, 32, 4, "inference")
    torch.manual_seed(0)
    found = runtime_step(name, row, "fp32", 1)()
    torch.manual_seed(0)
    with torch.inference_mode():
        expected = ResNet(18, image_size=32, head=head_of(row)).eval()(torch.from_numpy(images_of(row)))[0, 0]
    assert found == pytest.approx(float(expected), rel=1e-3, abs=1e-5)


def test_a_report_names_the_runtimes():
    other = {"seconds": 0.6, "fastest": 0.6, "per_s": 53.0, "peak_bytes": 1}
    sides = {**found()["sides"], "OpenVINO": other, "ONNX Runtime": {"failed": "No module named 'onnxruntime'"}}
    text = _peer.report(found(sides=sides))
    assert "1.20 times OpenVINO" in text and "ONNX Runtime         failed: No module named 'onnxruntime'" in text
