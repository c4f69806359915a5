"""The notebooks: every one runs from top to bottom, shortened; what is committed can be read without running."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 800_000
MACHINE_PATH = re.compile(r"(?<![\w.:/<])/(?:home|root|tmp|work|usr|opt|mnt|Users)/\w")


# Two kernels at a time: half of each is one thread of Python. Notebook 03 goes on where 02 stopped.
CHAINS = (("02_", "03_"), ("05_", "01_", "04_", "06_"))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Every notebook after its run, or the exception that stopped it, by stem; in one folder, as a reader's."""
    folder = str(tmp_path_factory.mktemp("notebooks"))

    def run(chain: tuple[str, ...]) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for path in (path for start in chain for path in NOTEBOOKS if path.name.startswith(start)):
            notebook = nbformat.read(path, as_version=4)
            client = nbclient.NotebookClient(
                notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": folder}}
            )
            try:
                client.execute()
                results[path.stem] = notebook
            except Exception as error:  # shown by the test of this notebook
                results[path.stem] = error
        return results

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(CHAINS)) as pool:
        patch.setenv("SIMCLR_MRI_SHORT", "1")
        patch.setenv("PYTHONPATH", str(ROOT / "python"))
        yield {stem: result for results in pool.map(run, CHAINS) for stem, result in results.items()}


def outputs(notebook) -> list:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(output) -> str:
    """What an output says, without the pictures in it."""
    parts = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text/"))]
    return re.sub(r"data:image/[^\"]+", "", "\n".join(parts))


def test_all_six_are_there():
    assert [path.name[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_", "05_", "06_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path: Path, executed: dict[str, Any]) -> None:
    notebook = executed[path.stem]
    if isinstance(notebook, Exception):
        raise notebook
    plots = [cell for cell in notebook.cells if cell.cell_type == "code" and re.search(r"plot\b.*;$", cell.source)]
    for cell in plots:  # a figure that is drawn but not shown was a fault once
        assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_reads_well(path: Path) -> None:
    assert path.stat().st_size < MAX_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count == i for i, cell in enumerate(cells, 1)), "run it from top to bottom, once"
    shown = outputs(notebook)
    assert sum("image/png" in o.get("data", {}) or "<img" in o.get("data", {}).get("text/html", "") for o in shown) > 1
    for output in shown:
        assert output.output_type != "error"
        assert not (output.output_type == "stream" and output.name == "stderr"), output.text
        assert not MACHINE_PATH.search(text_of(output)), text_of(output)[:500]
    assert 'DATA = ""' in cells[0].source, "phantoms only: pictures of real heads are not ours to publish"
