"""A place that is given as what it is not: a run where images are expected, a folder of runs where one run is."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from ..learning import CHECKPOINT_FILE, SimCLR, checkpoint_path
from ..weights import safetensors_metadata
from ._common import remembered
from ._table import COMMANDS

STARTS = {"pretrain": "weights", "finetune": "init"}  # the option that names a run to start from


def check_places(args: argparse.Namespace) -> None:
    """ValueError or FileNotFoundError with the command that was probably meant, before any work."""
    about = COMMANDS[args.command]
    data = getattr(args, "path", None)
    if about.get("model"):
        _check_model(args.command, args.model, data)
    elif about.get("data") and data and _is_run(data):
        raise ValueError(_images_expected(args.command, data))
    start = getattr(args, STARTS.get(args.command, ""), None)
    if start and checkpoint_path(start).is_file():
        if args.command == "finetune":
            _check_arch(start, getattr(args, "arch", None))
    elif start:
        _check_folder_of_runs(start, f"--{STARTS[args.command]} ")


def _is_run(place: str) -> bool:
    return (Path(place) / CHECKPOINT_FILE).is_file()


def _kind(place: str) -> Any:
    return json.loads(safetensors_metadata(checkpoint_path(place)).get("kind", "null"))


def _arch(run: str) -> Any:
    """Of the run's network; None for another kind of file."""
    file = checkpoint_path(run)
    network = json.loads(safetensors_metadata(file).get("network", "{}")) if file.suffix == ".safetensors" else {}
    return network.get("arch") if isinstance(network, dict) else None


def _check_model(command: str, model: str, data: str | None) -> None:
    if not checkpoint_path(model).is_file():
        if data and _is_run(data):
            swapped = f"simclr-mri {command} {shlex.quote(data)} {shlex.quote(model)}"
            raise FileNotFoundError(f"{model} holds no run, and {data} does. The model comes first: {swapped}")
        _check_folder_of_runs(model, "")
    elif command != "export" and checkpoint_path(model).suffix == ".safetensors" and _kind(model) == SimCLR.kind:
        raise ValueError(
            f"{model} is a pretraining, and this needs a classifier. To train one on it: "
            f"simclr-mri finetune --init {shlex.quote(model)}"
        )


def _check_folder_of_runs(place: str, option: str) -> None:
    if not Path(place).is_dir():
        return
    runs = sorted(str(path.parent) for path in Path(place).glob(f"*/{CHECKPOINT_FILE}"))
    if runs:
        raise FileNotFoundError(
            f"{option}{place} is a folder of runs. Name one of them: {', '.join(runs[:5])}{', ...' * (len(runs) > 5)}"
        )


def _images_expected(command: str, run: str) -> str:
    images = shlex.quote(str(remembered(run).get("options", {}).get("path") or "DATA"))
    if command == "finetune":
        meant = f"To start from it: simclr-mri finetune --init {shlex.quote(run)}"
    elif command == "pretrain":
        arch = f" --arch {_arch(run)}" if _arch(run) else ""
        meant = f"To start from it: simclr-mri pretrain {images} --weights {shlex.quote(run)}{arch}"
    else:
        meant = f"Its images: simclr-mri {command} {images}"
    return f"{run} is a run, and a folder of images is expected. {meant}"


def _check_arch(start: str, arch: str | None) -> None:
    """A classifier's start brings its network: another one that was typed would be ignored."""
    theirs = _arch(start)
    if arch is not None and theirs is not None and theirs != arch:
        raise ValueError(f"--arch {arch}: {start} is a {theirs}, and its network is what is trained. Leave out --arch")
