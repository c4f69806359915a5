"""Callbacks that show a run in TensorBoard, MLflow or Weights & Biases: losses and scores, parameters, the picture of
the history, the model and its card. Each needs its library; nothing is sent anywhere unless you name a server.

A run that is taken up again goes on in the same place: the run folder remembers which run of MLflow or Weights & Biases
it is. A tracker that fails while the run is under way is a warning, and training goes on.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._shared import WandBMode, choose, close_figure, write_json
from ..learning import Callback
from ..studies import model_card

if TYPE_CHECKING:
    from ..learning import Loop

EVERY_STEPS = 20  # between two points of a curve by step
MEMORY = "tracking.json"  # in the run folder
MODEL_FILE = "model.safetensors"
CARD_FILE = "model_card.md"
# Two of the libraries report their own use to their makers unless these say no; what you have set yourself holds.
NO_REPORTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}


class Tracker(Callback):
    """What the three have in common; `every` steps there is a point of the loss by step.

    For a tracker of your own, write `begin`, `scalars`, `figure`, `artefacts` and `end`.

    Examples
    --------
    >>> class Printed(Tracker):
    ...     package, title = "json", "Printed"  # the library that is needed, and its name in messages
    ...
    ...     def scalars(self, values, step):
    ...         print(step, values)
    >>> Printed(every=10).scalars({"step/loss": 0.5}, 10)
    10 {'step/loss': 0.5}
    """

    expects_training = True
    package = ""
    title = ""

    def __init__(self, every: int = EVERY_STEPS) -> None:
        if every < 1:
            raise ValueError(f"{type(self).__name__}: every={every!r}: expected a number of steps, at least 1")
        self.every = every
        self._is_broken = False
        self._module(self.package)

    def _module(self, name: str) -> Any:
        """A module of the library; ImportError says what to install."""
        for variable, value in NO_REPORTS.items():
            os.environ.setdefault(variable, value)
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__} needs {self.package.partition('.')[0]}: pip install 'simclr_mri[tracking]' "
                f"({error})"
            ) from None

    # ---- for the loop ------------------------------------------------------------------------------------------------

    def on_fit_begin(self, run: Loop) -> None:
        """Opens the tracker, whose errors end the run here, before any work."""
        self._is_broken = True
        self.begin(run, {"kind": run.task.kind, **run.task.config})
        self._is_broken = False

    def on_step_end(self, run: Loop) -> None:
        if run.step % self.every == 0:
            shown = {"step/loss": run.result["loss"], "step/gradient_norm": run.result.get("gradient_norm")}
            self._try("scalars", _finite(shown), run.step)

    def on_epoch_end(self, run: Loop) -> None:
        row = {f"epoch/{name}": value for name, value in run.row.items() if name != "epoch"}
        self._try("scalars", _finite({**row, "epoch/epoch": run.row["epoch"]}), run.step)

    def on_fit_end(self, run: Loop) -> None:
        if run.history:
            self._try("figure", "history", _picture(run.history), run.step)
        if run.position.finished:
            self._try("_keep_model", run)
        state = "failed" if run.error is not None else "finished" if run.position.finished else "stopped"
        self._try("end", state)

    def _keep_model(self, run: Loop) -> None:
        with tempfile.TemporaryDirectory() as folder:
            model = run.estimator.save(Path(folder) / MODEL_FILE)
            self.artefacts([model, model_card(run.estimator).write(Path(folder) / CARD_FILE)])

    def _try(self, what: str, *args: Any) -> None:
        """Training of hours does not end because a server is away: whatever the library raises is said once."""
        if self._is_broken:
            return
        try:
            getattr(self, what)(*args)
        except Exception as error:
            self._is_broken = True
            warnings.warn(f"{self.title}: {error}. Training goes on without it", stacklevel=2)

    # ---- of each -----------------------------------------------------------------------------------------------------

    def begin(self, run: Loop, parameters: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        raise NotImplementedError

    def figure(self, name: str, png: bytes, step: int) -> None:
        raise NotImplementedError

    def artefacts(self, paths: Sequence[Path]) -> None:
        """Keep the model and its card."""
        raise NotImplementedError

    def end(self, state: str) -> None:
        raise NotImplementedError


class TensorBoard(Tracker):
    """Writes event files for TensorBoard, which `tensorboard --logdir FOLDER` shows.

    Parameters
    ----------
    folder : path, optional
        By default "tensorboard" in the run folder, or here.
    every : int
        Steps between two points of the loss by step.

    Examples
    --------
    >>> ssl.fit(train, callbacks=[TensorBoard("runs/ssl/tensorboard")])  # doctest: +SKIP
    """

    package, title = "tensorboard.summary.writer.event_file_writer", "TensorBoard"

    def __init__(self, folder: str | Path | None = None, *, every: int = EVERY_STEPS) -> None:
        super().__init__(every)
        self.folder = folder

    def begin(self, run: Loop, parameters: Mapping[str, Any]) -> None:
        place = Path(self.folder or (run.folder or Path()) / "tensorboard").expanduser()
        self._event = self._module("tensorboard.compat.proto.event_pb2").Event
        self._summary = self._module("tensorboard.compat.proto.summary_pb2")
        self._writer = self._module(self.package).EventFileWriter(str(place))
        self._place = place
        self._parameters(parameters)

    def _parameters(self, parameters: Mapping[str, Any]) -> None:
        """For the page HPARAMS."""
        data = self._module("tensorboard.plugins.hparams.plugin_data_pb2")
        start = data.SessionStartInfo()
        for name, value in parameters.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, (int, float)):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = str(value)
        content = data.HParamsPluginData(session_start_info=start, version=0).SerializeToString()
        plugin = self._summary.SummaryMetadata.PluginData(plugin_name="hparams", content=content)
        metadata = self._summary.SummaryMetadata(plugin_data=plugin)
        self._add(0, tag="_hparams_/session_start_info", metadata=metadata)

    def _add(self, step: int, **value: Any) -> None:
        summary = self._summary.Summary(value=[self._summary.Summary.Value(**value)])
        self._writer.add_event(self._event(step=step, summary=summary, wall_time=time.time()))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._add(step, tag=name, simple_value=value)

    def figure(self, name: str, png: bytes, step: int) -> None:
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
        image = self._summary.Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=4)
        self._add(step, tag=name, image=image)

    def artefacts(self, paths: Sequence[Path]) -> None:
        """TensorBoard keeps no files of its own: they lie beside the events, and the card is on the page TEXT too."""
        for path in paths:
            (self._place / path.name).write_bytes(path.read_bytes())
        self._text("model card", next(path for path in paths if path.name == CARD_FILE).read_bytes())

    def _text(self, name: str, markdown: bytes) -> None:
        tensor = self._module("tensorboard.compat.proto.tensor_pb2").TensorProto
        strings = self._module("tensorboard.compat.proto.types_pb2").DT_STRING
        plugin = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        metadata = self._summary.SummaryMetadata(plugin_data=plugin)
        self._add(0, tag=name, metadata=metadata, tensor=tensor(dtype=strings, string_val=[markdown]))

    def end(self, state: str) -> None:
        self._writer.flush()
        self._writer.close()


class MLflow(Tracker):
    """Logs a run to MLflow.

    Parameters
    ----------
    uri : str, optional
        Of the server, or a folder or database; by default MLFLOW_TRACKING_URI, or what MLflow takes without.
    experiment : str
    every : int
        Steps between two points of the loss by step.

    Examples
    --------
    >>> clf.fit(train, val, callbacks=[MLflow("sqlite:///mlflow.db")])  # doctest: +SKIP
    """

    package, title = "mlflow", "MLflow"

    def __init__(self, uri: str | None = None, *, experiment: str = "simclr_mri", every: int = EVERY_STEPS) -> None:
        super().__init__(every)
        self.uri, self.experiment = uri, experiment

    def begin(self, run: Loop, parameters: Mapping[str, Any]) -> None:
        self._entities = self._module("mlflow.entities")
        client = self._client = self._module("mlflow").MlflowClient(tracking_uri=self.uri)
        found = client.get_experiment_by_name(self.experiment)
        place = found.experiment_id if found is not None else client.create_experiment(self.experiment)
        known = _recalled(run, "mlflow")
        if known is not None:
            self.run_id = known
            client.set_terminated(self.run_id, "RUNNING")
        else:
            name = run.folder.name if run.folder is not None else run.task.title
            self.run_id = client.create_run(place, run_name=name).info.run_id
            _remember(run, "mlflow", self.run_id)
            kept = [self._entities.Param(key, str(value)[:500]) for key, value in parameters.items()]
            client.log_batch(self.run_id, params=kept)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        found = [self._entities.Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=found)

    def figure(self, name: str, png: bytes, step: int) -> None:
        self._keep(f"{name}.png", png)

    def _keep(self, name: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(data)
            self._client.log_artifact(self.run_id, str(Path(folder) / name))

    def artefacts(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._client.log_artifact(self.run_id, str(path), "model")

    def end(self, state: str) -> None:
        status = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[state]
        self._client.set_terminated(self.run_id, status)


class WandB(Tracker):
    """Logs a run to Weights & Biases: offline, to files that `wandb sync` sends if you want that.

    Parameters
    ----------
    project : str
    folder : path, optional
        Where the files go; by default the run folder, or here.
    mode : {"offline", "online"}, optional
        By default WANDB_MODE, or offline.
    every : int
        Steps between two points of the loss by step.

    Examples
    --------
    >>> clf.fit(train, val, callbacks=[WandB("brains")])  # doctest: +SKIP
    """

    package, title = "wandb", "Weights & Biases"

    def __init__(
        self,
        project: str = "simclr_mri",
        *,
        folder: str | Path | None = None,
        mode: WandBMode | None = None,
        every: int = EVERY_STEPS,
    ) -> None:
        super().__init__(every)
        self.project, self.folder, self.mode = project, folder, mode

    def begin(self, run: Loop, parameters: Mapping[str, Any]) -> None:
        wandb = self._wandb = self._module("wandb")
        place = Path(self.folder or run.folder or ".").expanduser()
        place.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self.project,
            dir=str(place),
            mode=self.mode or os.environ.get("WANDB_MODE", "offline"),
            name=run.folder.name if run.folder is not None else run.task.title,
            id=_recalled(run, "wandb"),
            resume="allow",
            config=dict(parameters),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )
        _remember(run, "wandb", self._run.id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def figure(self, name: str, png: bytes, step: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            path.write_bytes(png)
            self._run.log({name: self._wandb.Image(str(path))}, step=step)

    def artefacts(self, paths: Sequence[Path]) -> None:
        """From the run's own folder, where `wandb sync` finds them; W&B's copies would stay in the user's home."""
        place = Path(self._run.dir).parent / "model"
        place.mkdir(exist_ok=True)
        artefact = self._wandb.Artifact(f"{self._run.id}-model", type="model")
        for path in paths:
            artefact.add_file(shutil.copyfile(path, place / path.name), policy="immutable")
        self._run.log_artifact(artefact)

    def end(self, state: str) -> None:
        self._run.finish(exit_code=1 if state == "failed" else 0)


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
"""By the name that `--track` takes."""


def tracker(name: str, to: str | None = None) -> Tracker:
    """The tracker that `--track NAME --track-to PLACE` asks for.

    Examples
    --------
    >>> tracker("tensorboard", "runs/curves").folder  # doctest: +SKIP
    'runs/curves'
    """
    choose("track", name, tuple(TRACKERS))
    if name == "mlflow":
        return MLflow(to)
    return TensorBoard(to) if name == "tensorboard" else WandB(folder=to)


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(v) for name, v in values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def _picture(history: Any) -> bytes:
    figure = history.plot().figure
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight", facecolor="white")
    close_figure(figure)
    return buffer.getvalue()


def _recalled(run: Loop, library: str) -> str | None:
    """Which run of a library this folder's run is, if it goes on; a run that starts anew is another."""
    if run.folder is None or run.step == 0 or not (run.folder / MEMORY).exists():
        return None
    return json.loads((run.folder / MEMORY).read_text(encoding="utf-8")).get(library)


def _remember(run: Loop, library: str, name: str) -> None:
    if run.folder is None:
        return
    path = run.folder / MEMORY
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, {**known, library: name})
