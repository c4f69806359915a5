"""The picture of `simclr-mri bench`: speed and memory, ours beside PyTorch's configurations."""

from __future__ import annotations

from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from .._shared import our_figure
from ._style import COLOURS, STYLE

HATCHES = {"ours": "", "default": "..", "tuned": "//", "compiled": "\\\\", "cast": "xx", "cast compiled": "++"}


def speed_and_memory(results: list[dict[str, Any]]) -> Axes:
    """Bars of every row, as `bench.Measurement.to_dict` or tests/bench/bench_step.py has them.

    Speed is drawn relative to the fastest configuration of PyTorch's (without a peer: to ours in the first precision of
    the same row), with images a second beside the bar; memory in MB.

    Parameters
    ----------
    results : list of dict

    Returns
    -------
    Axes
        The left one; its figure has both.
    """
    sides = list(dict.fromkeys(side for found in results for side in found["sides"]))
    colours = {side: COLOURS[i % len(COLOURS)] for i, side in enumerate(sides)}
    n_bars = sum(_n_measured(found) + 1 for found in results)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure, (speed, memory) = plt.subplots(1, 2, figsize=(11, 1.2 + 0.32 * n_bars), sharey=True)
        our_figure(figure)
        y, ticks = 0.0, []
        for found in results:
            base = _base_speed(found, results)
            ticks.append((y + (_n_measured(found) - 1) / 2, _label(found)))
            for side, measured in found["sides"].items():
                if "failed" in measured:
                    continue
                style = {"color": colours[side], "hatch": HATCHES.get(side, ""), "edgecolor": "white", "height": 0.85}
                ratio, megabytes = measured["per_s"] / base, measured["peak_bytes"] / 1e6
                speed.barh(y, ratio, **style)
                speed.text(ratio, y, f" {measured['per_s']:.1f}/s ({ratio:.2f})", va="center", fontsize=8)
                memory.barh(y, megabytes, **style)
                memory.text(megabytes, y, f" {megabytes:.0f}", va="center", fontsize=8)
                y += 1
            y += 1
        _finish(speed, memory, ticks, any("best_peer" in found for found in results))
        others = ("ours", "ONNX Runtime", "OpenVINO")
        names = [side if side in others else f"PyTorch, {side}" for side in sides]
        handles = [plt.Rectangle((0, 0), 1, 1, facecolor=colours[s], hatch=HATCHES.get(s, "")) for s in sides]
        figure.legend(handles, names, loc="outside lower center", ncols=len(sides))
    return speed


def _n_measured(found: dict[str, Any]) -> int:
    return sum("failed" not in measured for measured in found["sides"].values())


def _base_speed(found: dict[str, Any], results: list[dict[str, Any]]) -> float:
    if "best_peer" in found:
        return found["sides"][found["best_peer"]]["per_s"]
    first = next(other for other in results if other["row"] == found["row"])
    return first["sides"]["ours"]["per_s"]


def _label(found: dict[str, Any]) -> str:
    network, pixels, work = found["title"].split(", ", 2)
    return f"{network}, {pixels}, {found['precision']}\n{work}"


def _finish(speed: Axes, memory: Axes, ticks: list[tuple[float, str]], has_peer: bool) -> None:
    speed.set_yticks([y for y, _ in ticks], [text for _, text in ticks])
    speed.invert_yaxis()
    speed.set_title("Images or pairs a second")
    speed.set_xlabel("relative to the fastest of PyTorch's" if has_peer else "relative to the first precision")
    memory.set_title("Peak memory")
    memory.set_xlabel("MB")
    for ax in (speed, memory):
        ax.margins(x=0.25)
        ax.tick_params(axis="y", length=0)
