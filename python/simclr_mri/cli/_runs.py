"""`simclr-mri runs`: which runs there are, how far they came, how well they did and how large they are."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .._shared import bytes_text, call_text, counted, text_table
from ..learning import CHECKPOINT_FILE, prune, spare_bytes
from ..weights import CheckpointError, safetensors_metadata
from ._settings import Settings

COLUMNS = ("run", "kind", "network", "start", "labels", "state", "validation", "test", "size")


def runs(args: argparse.Namespace) -> int:
    """A line for each run folder."""
    chosen = Settings(args).runs
    if chosen.yes and not chosen.prune:
        raise ValueError("--yes is for --prune: simclr-mri runs --prune --yes")
    root = Path(chosen.under).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"--under {root}: no such folder")
    found = sorted(path.parent for path in root.rglob(CHECKPOINT_FILE))
    rows = [row for row in (_row(folder, root) for folder in found) if row is not None]
    if not rows:
        print(f"no runs under {root}")
        return 0
    print(text_table(COLUMNS, rows, "left"))
    size = sum(path.stat().st_size for folder in found for path in folder.glob("*") if path.is_file())
    print(f"{counted(len(rows), 'run')}, {bytes_text(size)}. validation, test: balanced accuracy by slice")
    if chosen.prune:
        _prune([folder for folder in found if _row(folder, root) is not None], root, chosen.yes)
    return 0


def _prune(folders: list[Path], root: Path, is_sure: bool) -> None:
    """Free what only an extension of a finished run needs, when the user agrees."""
    spare = {folder: spare_bytes(folder) for folder in folders}
    spare = {folder: n for folder, n in spare.items() if n}
    if not spare:
        print("\nnothing to prune: the checkpoints hold no more than evaluate, predict, explain and finetune read")
        return
    print("\nonly needed to train a finished run for more epochs:")
    print(text_table(("run", "frees"), [(str(f.relative_to(root)), bytes_text(n)) for f, n in spare.items()], "left"))
    if not is_sure and not _agrees(f"Free {bytes_text(sum(spare.values()))}? The models stay, to the bit. [y/N] "):
        print(f"nothing was changed. To free it: {call_text('', 'runs', under=str(root))} --prune --yes")
        return
    freed = 0
    for folder in spare:
        try:
            freed += prune(folder)
        except (BlockingIOError, CheckpointError) as error:
            print(f"simclr-mri: note: {folder} stays as it is: {error}", file=sys.stderr)
    print(f"{bytes_text(freed)} were freed")


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(question, end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _row(folder: Path, root: Path) -> tuple[str, ...] | None:
    """What a run's checkpoint and evaluation say; None for a file that is no checkpoint of this package."""
    metadata = safetensors_metadata(folder / CHECKPOINT_FILE)
    try:
        kind, config, progress, extra = (json.loads(metadata[k]) for k in ("kind", "config", "progress", "extra"))
        network = json.loads(metadata["network"])
    except (KeyError, ValueError):
        return None
    share = config.get("label_fraction")
    state = "finished" if progress.get("finished") else f"epoch {progress.get('epoch', 0)} of {config.get('epochs')}"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return (
        str(folder.relative_to(root)),
        str(kind),
        str(network.get("arch")),
        str(config.get("init") or config.get("weights") or "random").split(" #")[0],
        "" if share is None else f"{share:.0%}",
        state,
        _number(extra.get("best_score")),
        _number(_test_score(folder)),
        bytes_text(size),
    )


def _test_score(folder: Path) -> Any:
    try:
        text = (folder / "evaluation_test" / "evaluation.json").read_text(encoding="utf-8")
        return json.loads(text)["slice"]["metrics"]["balanced_accuracy"]["value"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""
