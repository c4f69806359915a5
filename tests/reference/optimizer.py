"""One step of each optimizer in float64, after the documentation of torch.optim and the papers of SAM and ASAM."""

from __future__ import annotations

import numpy as np


def sgd(w, m, g, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """Returns the new weights and momentum."""
    g = g + weight_decay * w
    m = momentum * m + g
    return w - lr * (g + momentum * m if nesterov else m), m


def adamw(w, m, v, g, lr, step, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    """Loshchilov and Hutter (ICLR 2019), algorithm 2. Returns the new weights and moments."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return w - lr * weight_decay * w - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def sam(w, g, rho, adaptive=False, eta=0.0):
    """Foret et al. (ICLR 2021), equation 2; Kwon et al. (ICML 2021), equation 5 with T_w = |w| + eta."""
    scale = np.abs(w) + eta if adaptive else np.ones_like(w)
    return w + rho * scale**2 * g / np.linalg.norm(scale * g)
