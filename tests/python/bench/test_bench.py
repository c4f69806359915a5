"""The bench's figures: what is counted, what a report says of configurations that fail, and the picture."""

from __future__ import annotations

import bench_step
import pytest

from simclr_mri import bench
from simclr_mri.bench import _peer
from simclr_mri.plot import _speed


def found(**change) -> dict:
    """As bench_step measures it."""
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


def test_the_rows_of_both_programs_are_the_same():
    assert bench_step.ROWS.keys() == bench.ROWS.keys()
    for name, row in bench.ROWS.items():
        other = bench_step.ROWS[name]
        assert (row.depth, row.pixels, row.images, row.kind, row.title) == tuple(other)
        assert row.per_step == other.per_step


def test_a_report_says_which_was_best_and_what_failed():
    text = bench_step.report(found())
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


def test_without_a_source_tree_the_peer_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(_peer, "TESTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"source tree.*pip install -e '\.\[bench\]'"):
        bench.run_peer(("resnet18",), ("fp32",), 1, None, False)


def test_a_measurement_adds_up():
    one = bench.measure(bench.ROWS["resnet18"], rounds=1, n_jobs=1)
    assert one.per_s == pytest.approx(64 / one.seconds)
    forward = sum(flops for operation, _, _, flops in one.operations if operation == "conv forward")
    first = 2 * 64 * 32 * 32 * 64 * 49  # the images have no gradient
    assert one.flops == pytest.approx(3 * forward - first) and one.peak_flops > 1e8
    assert "conv1.weight" in one.layer_table() and one.row.title in str(one)
    assert "operations of direct convolution, of which Winograd's method saves a part" in str(one)
