"""Learning-rate schedules."""

from __future__ import annotations

import pytest

from reference.schedule import cosine
from simclr_mri import _core


@pytest.mark.parametrize("total,warmup", [(1, 0), (1, 1), (10, 0), (10, 3), (10, 10), (1000, 100)])
def test_cosine(total, warmup):
    for step in [*range(min(total, 30)), total - 1, total, total + 5]:
        lr, momentum = _core.cosine_rate(step, total, 0.3, warmup_steps=warmup, final_lr=0.01, momentum=0.8)
        assert lr == pytest.approx(cosine(step, total, 0.3, warmup, 0.01), rel=1e-14)
        assert momentum == 0.8


def test_cosine_meets_its_corners():
    rates = [_core.cosine_rate(step, 100, 1.0, warmup_steps=10)[0] for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 1e-3


@pytest.mark.parametrize("total,pct_start", [(10, 0.3), (100, 0.3), (37, 0.25), (1000, 0.05), (20, 0.5)])
def test_one_cycle_as_in_pytorch(total, pct_start):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1, momentum=0.9)
    peer = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=total, pct_start=pct_start)
    for step in range(total):
        lr, momentum = _core.one_cycle_rate(step, total, 0.01, pct_start=pct_start)
        assert lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        assert momentum == pytest.approx(optimizer.param_groups[0]["momentum"], rel=1e-9)
        optimizer.step()
        if step < total - 1:
            peer.step()


def test_one_cycle_of_few_steps():
    """Where PyTorch divides by zero: a rise of one step, no rise, a single step."""
    assert _core.one_cycle_rate(0, 10, 1.0, pct_start=0.1) == pytest.approx((1.0, 0.85))
    assert _core.one_cycle_rate(9, 10, 1.0, pct_start=0.0) == pytest.approx((1 / 25e4, 0.95))
    lr, momentum = _core.one_cycle_rate(0, 1, 1.0)
    assert 0 < lr <= 1 and 0.85 <= momentum <= 0.95
    assert _core.one_cycle_rate(99, 10, 1.0) == _core.one_cycle_rate(9, 10, 1.0)


def test_errors():
    with pytest.raises(ValueError, match="total_steps: expected at least 1"):
        _core.cosine_rate(0, 0, 0.1)
    with pytest.raises(ValueError, match="warmup_steps: expected at most total_steps = 5, got 6"):
        _core.cosine_rate(0, 5, 0.1, warmup_steps=6)
    with pytest.raises(ValueError, match="learning rate: expected finite values"):
        _core.cosine_rate(0, 5, float("nan"))
    with pytest.raises(ValueError, match="pct_start: expected a share"):
        _core.one_cycle_rate(0, 5, 0.1, pct_start=1.5)
    with pytest.raises(ValueError, match="div_factor"):
        _core.one_cycle_rate(0, 5, 0.1, div_factor=0)
