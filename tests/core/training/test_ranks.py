"""Several ranks share the micro-batches of a step, to the bits of one: here they are threads, and no MPI is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference.ranks import Stopped, ThreadRank, on_ranks, rounded_to_bf16, tree_sum
from simclr_mri import _core

HEAD = [(24, 0.5, True), (16, 0.3, False)]
SIMCLR = {"optimizer": "sgd", "sharpness": "asam", "weight_decay": 1e-4, "micro_batch": 2}
CLASSIFIER = {"optimizer": "adamw", "weight_decay": 1e-2, "micro_batch": 3}


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 32, 32, 1)).astype(np.float32)


def two_steps(rank: ThreadRank | None, simclr: bool, options: dict[str, Any], bad: bool = False) -> dict[str, Any]:
    """Everything that two steps change; images of other ranks are never read. `bad`: a NaN in the last image."""
    network = _core.Network(18, image_size=32, head=HEAD, head_name="projection", n_threads=1)
    trainer = _core.Trainer(network, batch=8, ranks=rank, **options)
    result: dict[str, Any] = {}
    for step, n in enumerate((8, 8 if simclr else 7)):
        batch = images(n, step)
        if bad and step:
            batch[-1] = np.nan
        begin, end = trainer.rows(n)
        batch[:begin], batch[end:] = np.inf, np.inf
        common = {"momentum": 0.9, "seed": 3, "step": step}
        if simclr:
            groups = np.tile([0, 1, 1, 2], 2).astype(np.int32)
            result = trainer.simclr_step(batch, lr=0.05, temperature=0.3, rho=0.5, groups=groups, **common)
        else:
            labels, weights = (np.arange(n) % 16).astype(np.int32), np.linspace(1, 2, 16).astype(np.float32)
            result = trainer.supervised_step(batch, labels, lr=0.01, class_weights=weights, **common)
    return {**network.state(), **trainer.state(), "output": trainer.output(), **result}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "simclr,options",
    [(True, {**SIMCLR, "precision": "bf16"}), (False, CLASSIFIER), (False, {**CLASSIFIER, "wire": "bf16"})],
    ids=["simclr", "classifier", "wire"],
)
def test_same_bits_on_any_number_of_ranks(simclr, options):
    """Dropout, same-subject groups and class weights; four parts, or three of seven images and a rank without any."""
    alone = two_steps(None, simclr, options)
    for size in (2, 4) if "wire" in options else (1, 2, 4):
        for found in on_ranks(size, lambda rank: two_steps(rank, simclr, options)):
            assert not isinstance(found, Exception), found
            assert same(alone, found), size


def test_gradients_travel_as_soon_as_they_are_final():
    """In several pieces, of which ThreadRank sees to it that none changes later; those of frozen stages do not."""
    network = _core.Network(18, image_size=32, head=HEAD, head_name="projection", n_threads=1)
    whole = sum(size for name, size in ((n, int(np.prod(s))) for n, s, *_ in network.table) if "running" not in name)

    def work(rank: ThreadRank, **options: Any) -> list[int]:
        two_steps(rank, False, {**CLASSIFIER, **options})
        return rank.n_sums

    first, second = on_ranks(2, work)
    assert first == second and len(first) // 2 >= 6
    assert whole <= sum(first) // 2 < 1.01 * whole
    frozen, _ = on_ranks(2, lambda rank: work(rank, frozen_stages=4))
    assert sum(frozen) < 0.9 * sum(first)


def test_a_narrow_wire_rounds_and_nothing_else():
    """Of one part: the gradients of "fp32", rounded once."""
    found = {}
    for wire in ("fp32", "bf16"):
        network = _core.Network(18, image_size=32, head=HEAD, n_threads=1)
        trainer = _core.Trainer(network, batch=8, wire=wire)
        trainer.supervised_step(images(8, 0), np.arange(8, dtype=np.int32), lr=0.1, momentum=0.9, seed=0, step=0)
        found[wire] = trainer.gradients()
    for name, exact in found["fp32"].items():
        np.testing.assert_array_equal(found["bf16"][name], rounded_to_bf16(exact))
    with pytest.raises(ValueError, match="wire: expected one of 'fp32', 'bf16', got 'fp16'"):
        _core.Trainer(network, batch=8, wire="fp16")


def test_what_is_not_finite_at_one_rank_ends_the_step_at_all():
    found = on_ranks(2, lambda rank: two_steps(rank, False, CLASSIFIER, bad=True))
    assert [str(error) for error in found] == ["the loss is nan in step 1; the step was discarded"] * 2
    assert all(isinstance(error, FloatingPointError) for error in found)


def test_a_rank_that_fails_before_the_step_is_heard_in_the_middle_of_it():
    def work(rank: ThreadRank) -> None:
        if rank.rank == 1:
            rank.agree(100, "no images")
        else:
            two_steps(rank, True, SIMCLR)

    found = on_ranks(2, work)
    assert isinstance(found[0], Stopped) and str(found[0]) == "rank 1: no images"


@pytest.mark.parametrize("n", range(1, 10))
def test_the_tree_is_the_one_of_the_core(n):
    """Parts of one process, and rows of the ranks, are added in the same order: powers of two tell any other apart."""
    rows = (np.random.default_rng(n).normal(size=(n, 20_000)) * 10.0 ** np.arange(n)[:, None]).astype(np.float32)
    expected = tree_sum(list(rows))
    short = _core.bf16_from_float(rows)
    expected_short = tree_sum([rounded_to_bf16(row) for row in rows], "bf16")
    _core.tree_sum(rows)
    _core.tree_sum(short)
    np.testing.assert_array_equal(rows[0], expected)
    np.testing.assert_array_equal(_core.bf16_to_float(short[0]), expected_short)


def test_bad_ranks_are_named():
    network = _core.Network(18, image_size=32, n_threads=1)
    rank = on_ranks(2, lambda rank: rank)[1]
    with pytest.raises(
        ValueError, match="micro_batch: expected a number for 2 ranks, which share micro-batches, got 0"
    ):
        _core.Trainer(network, batch=8, ranks=rank)
    with pytest.raises(AttributeError, match="rank"):
        _core.Trainer(network, batch=8, ranks=object())
    rank.rank = 2
    with pytest.raises(ValueError, match="comm: expected a rank below 2, got 2"):
        _core.Trainer(network, batch=8, micro_batch=4, ranks=rank)
