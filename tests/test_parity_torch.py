"""Whole networks and training runs against PyTorch with the same weights.

Where gradients are to agree closely, the networks are settled (reference/settled.py: what that is, and why). Freshly
drawn networks are compared by the typical tensor. Masks pixel by pixel are the layers' tests' business.
"""

from __future__ import annotations

import numpy as np
import pytest

import _testing
from simclr_mri import _core

torch = pytest.importorskip("torch")

from reference.resnet_torch import ResNet, load_state, nt_xent  # noqa: E402
from reference.settled import settle  # noqa: E402

CASES = {
    "resnet18_64": (18, 4, {"image_size": 64, "head": [(10, 0.0, False)]}),
    "resnet50_64_rgb": (50, 4, {"image_size": 64, "in_channels": 3, "head": [(64, 0.0, True), (32, 0.0, False)]}),
    "resnet50_128_flat": (
        50,
        2,
        {"image_size": 128, "features": "flatten", "head": [(64, 0.0, False), (8, 0.0, False)]},
    ),
}


@pytest.fixture(autouse=True)
def one_torch_thread():
    """PyTorch's threads spin between operations: with any other load on the machine, two are far slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(n: int, size: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size, size, channels)).astype(np.float32)


def relative_errors(gradients: dict[str, np.ndarray], model: torch.nn.Module) -> dict[str, float]:
    """Norms of the differences over the norms; a norm below 1e-5 of the whole gradient's is mostly noise around zero
    (as for a bias that the next batch norm removes)."""
    expected = {name: p.grad.numpy().astype(np.float64) for name, p in model.named_parameters() if p.grad is not None}
    floor = 1e-5 * np.sqrt(sum((g**2).sum() for g in expected.values()))
    return {name: np.linalg.norm(gradients[name] - g) / max(np.linalg.norm(g), floor) for name, g in expected.items()}


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_logits_gradients_and_statistics(case, settled):
    depth, n, options = CASES[case]
    network, model = _core.Network(depth, **options), ResNet(depth, **options)
    if settled:
        settle(network)
    load_state(model, network.state())
    x = images(n, options["image_size"], options.get("in_channels", 1))
    y = np.arange(n, dtype=np.int32) % 4
    trainer = _core.Trainer(network, batch=4 * n if settled else n)  # an incomplete batch where errors are told best
    result = trainer.supervised_step(x, y, lr=0.0, momentum=0.0, seed=0, step=0)
    logits = model.train()(torch.from_numpy(x))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y).long())
    loss.backward()
    expected = logits.detach().numpy()
    # Batch statistics of a few pixels amplify rounding in a freshly drawn network.
    tolerance = (1e-4 if settled else 1e-3) * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(trainer.output(), expected, atol=tolerance)
    assert result["loss"] == pytest.approx(loss.item(), abs=tolerance)
    errors = relative_errors(trainer.gradients(), model)
    if settled:
        assert max(errors.values()) < 1e-3, max(errors, key=errors.get)
    else:
        assert np.median(list(errors.values())) < 5e-2
    state = network.state()
    for name, buffer in model.named_buffers():
        if "num_batches" not in name:
            np.testing.assert_allclose(state[name], buffer.numpy(), rtol=1e-3, atol=1e-3, err_msg=name)
    load_state(model, state)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(network.forward(x), expected, atol=1e-4 * max(1.0, np.abs(expected).max()))


def test_frozen_stages_are_stages_in_eval_mode():
    """requires_grad False and eval(), as torchvision's and OpenMMLab's frozen stages."""
    depth, n, options = CASES["resnet18_64"]
    network, model = _core.Network(depth, **options), ResNet(depth, **options)
    settle(network)
    load_state(model, network.state())
    x, y = images(n, 64), np.arange(n, dtype=np.int32) % 4
    trainer = _core.Trainer(network, batch=n, frozen_stages=3)
    result = trainer.supervised_step(x, y, lr=0.0, momentum=0.0, seed=0, step=0)
    model.train()
    frozen = ("conv1", "bn1", "layer1", "layer2")
    for name, module in model.named_children():
        if name in frozen:
            module.eval().requires_grad_(False)
    loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y).long())
    loss.backward()
    assert result["loss"] == pytest.approx(loss.item(), abs=1e-4)
    gradients = trainer.gradients()
    assert max(relative_errors(gradients, model).values()) < 1e-3
    still = {name for name, gradient in gradients.items() if not gradient.any()}
    assert still == {name for name in gradients if name.split(".")[0] in frozen}
    state = network.state()
    for name, buffer in model.named_buffers():
        if "num_batches" not in name:
            np.testing.assert_allclose(state[name], buffer.numpy(), rtol=1e-3, atol=1e-3, err_msg=name)


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def pass_of(
    model: torch.nn.Module, x: np.ndarray, y: np.ndarray, dtype: torch.dtype, autocast: bool
) -> list[np.ndarray]:
    """[logits, all gradients in one row, features] of PyTorch, float64."""
    model = model.to(dtype).train()
    images = torch.from_numpy(x).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(images)
    torch.nn.functional.cross_entropy(logits.to(dtype), torch.from_numpy(y).long()).backward()
    gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        stage = model.eval().stages(images)["layer4"]
    features = stage.to(torch.float64).mean((2, 3))
    return [t.detach().double().numpy() for t in (logits, gradients, features)]


@pytest.mark.parametrize("case", ["resnet18_64", "resnet50_64_rgb"])
def test_bf16_is_as_exact_as_autocast(case):
    """Distances from PyTorch in float64: ours at most 1.5 times those of PyTorch's bf16 autocast, usually less."""
    depth, n, options = CASES[case]
    network = _core.Network(depth, **options)
    settle(network)
    state, y = network.state(), np.arange(n, dtype=np.int32) % 4
    x = images(n, options["image_size"], options.get("in_channels", 1))
    theirs = []
    for dtype, autocast in ((torch.float64, False), (torch.float32, True)):
        model = ResNet(depth, **options)
        load_state(model, state)
        theirs.append(pass_of(model, x, y, dtype, autocast))
    trainer = _core.Trainer(network, batch=n, precision="bf16")
    trainer.supervised_step(x, y, lr=0.0, momentum=0.0, seed=0, step=0)
    found, names = trainer.gradients(), [name for name, _ in ResNet(depth, **options).named_parameters()]
    gradients = np.concatenate([found[name].ravel() for name in names])
    ours = [trainer.output(), gradients, network.forward(x, output="features", precision="bf16")]
    exact, autocast = theirs
    for what, a, b, c in zip(("logits", "gradients", "features"), ours, autocast, exact, strict=True):
        error, peer = relative(a, c), relative(b, c)
        assert 1e-4 < error < 1.5 * peer < 0.2, (what, error, peer)


def dropout_masks(options: dict, n: int, features: int, seed: int, step: int, channels: int = 0) -> list[torch.Tensor]:
    """Ours, for PyTorch: what each layer's input is multiplied by. Flattened features are H, W, C in the core."""
    masks, width = [], features
    for i, (out, p, _) in enumerate(options["head"]):
        mask = _testing.dropout(np.ones((n, width), np.float32), p, seed, step, i)
        if i == 0 and channels:
            mask = mask.reshape(n, -1, channels).transpose(0, 2, 1).reshape(n, width).copy()
        masks.append(torch.from_numpy(mask))
        width = out
    return masks


def asam_step(model: torch.nn.Module, loss, optimizer: torch.optim.Optimizer, rho: float) -> float:
    """Kwon et al. (ICML 2021), T_w = |w| for every tensor; running statistics of the first pass only."""
    parameters = list(model.parameters())
    optimizer.zero_grad()
    first = loss()
    first.backward()
    with torch.no_grad():
        kept = [p.clone() for p in parameters]
        buffers = [b.clone() for b in model.buffers()]
        norm = torch.sqrt(sum(((p * p.grad) ** 2).sum() for p in parameters))
        for p in parameters:
            p.add_(p * p * p.grad, alpha=float(rho / (norm + 1e-12)))
    optimizer.zero_grad()
    loss().backward()
    with torch.no_grad():
        for p, value in zip(parameters, kept, strict=True):
            p.copy_(value)
        for b, value in zip(model.buffers(), buffers, strict=True):
            b.copy_(value)
    optimizer.step()
    return first.item()


def test_20_steps_of_simclr_with_asam():
    """The paper recipe in small: flattened features, two linear layers with dropout, the views normalised apart."""
    options = {"image_size": 48, "features": "flatten", "head": [(32, 0.5, False), (16, 0.5, False)]}
    network, model = _core.Network(18, **options), ResNet(18, **options)
    settle(network)
    load_state(model, network.state())
    model.train()
    rng = np.random.default_rng(0)
    n, slices, losses = 4, rng.normal(size=(4, 48, 48, 1)), []
    trainer = _core.Trainer(network, batch=2 * n, bn_groups=2, sharpness="asam")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(20):
        views = np.concatenate([slices + 0.1 * rng.normal(size=slices.shape) for _ in range(2)]).astype(np.float32)
        ours = trainer.simclr_step(views, lr=0.1, momentum=0.9, rho=1.0, temperature=0.5, seed=5, step=step)
        x, masks = torch.from_numpy(views), dropout_masks(options, 2 * n, 2048, 5, step, 512)

        def loss(x=x, masks=masks) -> torch.Tensor:
            halves = [model(x[half], [m[half] for m in masks]) for half in (slice(n), slice(n, 2 * n))]
            return nt_xent(torch.cat(halves), 0.5)

        losses.append((ours["loss"], asam_step(model, loss, optimizer, 1.0)))
    # Measured: 4e-7. Rounding grows from step to step, so two more digits are granted.
    np.testing.assert_allclose(*zip(*losses, strict=True), atol=5e-5)
    state = network.state()
    for name, value in model.state_dict().items():
        if "num_batches" not in name:
            np.testing.assert_allclose(state[name], value.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


OPTIMIZERS = {
    "sgd": (
        {"optimizer": "sgd", "nesterov": True, "weight_decay": 1e-3, "decay_all": True},
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-3),
    ),
    "adamw": (
        {"optimizer": "adamw", "weight_decay": 1e-2, "decay_all": True},
        lambda p: torch.optim.AdamW(p, lr=0.002, weight_decay=1e-2),
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_20_supervised_steps(optimizer):
    """Weighted, smoothed cross-entropy under SGD with Nesterov's momentum and under AdamW."""
    options = {"image_size": 48, "head": [(4, 0.0, False)]}
    network, model = _core.Network(18, **options), ResNet(18, **options)
    settle(network)
    load_state(model, network.state())
    model.train()
    rng = np.random.default_rng(0)
    weights = np.array([1.0, 0.5, 2.0, 1.5], np.float32)
    settings, make = OPTIMIZERS[optimizer]
    trainer, peer = _core.Trainer(network, batch=6, **settings), make(model.parameters())
    criterion = torch.nn.CrossEntropyLoss(torch.from_numpy(weights), label_smoothing=0.1)
    step_options = {"lr": peer.param_groups[0]["lr"], "momentum": 0.9, "class_weights": weights, "label_smoothing": 0.1}
    losses = []
    for step in range(20):
        x, y = rng.normal(size=(6, 48, 48, 1)).astype(np.float32), rng.integers(0, 4, 6).astype(np.int32)
        ours = trainer.supervised_step(x, y, seed=0, step=step, **step_options)
        peer.zero_grad()
        loss = criterion(model(torch.from_numpy(x)), torch.from_numpy(y).long())
        loss.backward()
        peer.step()
        losses.append((ours["loss"], loss.item()))
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=2e-3)


@pytest.mark.parametrize("stage", ["stem", "layer1", "layer2", "layer3", "layer4"])
@pytest.mark.parametrize("features", ["avgpool", "flatten"])
def test_explain(stage, features):
    """Activations of a stage and the gradient of one logit with respect to them, by autograd."""
    options = {"image_size": 64, "features": features, "head": [(16, 0.5, True), (4, 0.0, False)]}
    network, model = _core.Network(18, **options), ResNet(18, **options).eval()
    settle(network)
    load_state(model, network.state())
    x, targets = images(3, 64), np.array([1, 0, 3])
    activations, gradients, outputs = network.explain(x, targets, stage=stage)
    found = model.stages(torch.from_numpy(x))
    logits = model.apply_head(found["layer4"])
    (expected,) = torch.autograd.grad(logits[torch.arange(3), torch.from_numpy(targets)].sum(), found[stage])
    for ours, theirs in ((activations, found[stage]), (gradients, expected)):
        theirs = theirs.detach().permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    np.testing.assert_allclose(outputs, logits.detach().numpy(), rtol=1e-4, atol=1e-4)
