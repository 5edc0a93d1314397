"""A run is a folder: its configuration, vocabulary, logs, checkpoints and, when it has ended, the weights to share.

    runs/NAME/  config.json  vocabulary.json  metrics.jsonl  samples.jsonl  model.safetensors
                checkpoints/000400/  snapshots/000400.safetensors

`config.json`, `vocabulary.json` and `model.safetensors` are what is shared; such a folder can be read like a run.
Knows nothing about models, texts or training: it keeps JSON and tensors by name.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from unrolled.errors import RunError, RunLockedError, UnrolledError, nearest
from unrolled.training import checkpoint as checkpoint_files
from unrolled.training import durable
from unrolled.training import snapshots as snapshot_files
from unrolled.training.checkpoint import FORMAT_VERSION, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMAT_VERSION", "RunFolder", "RunSummary", "list_runs"]

_CONFIG = "config.json"
_VOCABULARY = "vocabulary.json"
_METRICS = "metrics.jsonl"
_SAMPLES = "samples.jsonl"
_WEIGHTS = "model.safetensors"
_CHECKPOINTS = "checkpoints"
_SNAPSHOTS = "snapshots"
_LOCK = "run.lock"
_HOLDER = "run.lock.json"
_KEPT = 2


@dataclass(frozen=True)
class RunFolder:
    """One run on the disk. `config` and `vocabulary` are as they were when the folder was opened or created.

    Make one with `RunFolder.create` or `RunFolder.open`. Whoever writes holds `lock()`; reading needs no lock.
    """

    path: Path
    config: dict[str, Any] = field(repr=False)
    vocabulary: dict[str, Any] = field(repr=False)
    binds: Mapping[str, str] = field(repr=False)

    @classmethod
    def create(cls, path: Path | str, config: Mapping[str, object], vocabulary: Mapping[str, object]) -> "RunFolder":
        """Make a new run; `config` contains `"format": FORMAT_VERSION`.

        Raises RunError when the folder is a run or holds something else, TrainingError when the disk refuses.
        """
        path = Path(path)
        with durable.looking_at(path):
            _check_is_free(path)
        checkpoint_files.check_format(config.get("format"), path / _CONFIG)
        durable.make_folder(path.absolute().parent)
        files = {
            _VOCABULARY: durable.encode_json(vocabulary, path / _VOCABULARY),
            _CONFIG: durable.encode_json(config, path / _CONFIG),
        }
        try:
            durable.publish_folder(path, files)
        except UnrolledError as error:
            if (path / _CONFIG).exists():
                raise _is_a_run(path) from error
            raise
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """Open a run or a shared folder. Raises RunError: there is none, it is damaged, or from a newer version."""
        path = Path(path)
        with durable.looking_at(path):
            _check_is_a_run(path)
        config_bytes = durable.read_bytes(path / _CONFIG, limit=durable.MAX_JSON_BYTES)
        config = durable.parse_json(config_bytes, path / _CONFIG)
        checkpoint_files.check_format(config.get("format"), path / _CONFIG)
        vocabulary_bytes = durable.read_bytes(path / _VOCABULARY, limit=durable.MAX_JSON_BYTES)
        vocabulary = durable.parse_json(vocabulary_bytes, path / _VOCABULARY)
        binds = {
            _CONFIG: checkpoint_files.sha256(config_bytes),
            _VOCABULARY: checkpoint_files.sha256(vocabulary_bytes),
        }
        return cls(path, config, vocabulary, binds)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer, until the end of the block or of the process; clean up after killed writers.

        Raises RunLockedError at once, naming the holder, when another process is writing.
        """
        lock = FileLock(self.path / _LOCK, blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunLockedError(
                expected=f"to be the only writer of {self.path}",
                received=f"a lock held by {self._holder()}",
                remedy="wait until it ends, or choose another --run",
            ) from error
        except OSError as error:
            raise RunError(
                expected=f"to lock {self.path}",
                received=error.strerror or str(error),
                remedy="choose a folder that you may write to",
            ) from error
        try:
            durable.remove_leftovers(self.path)
            durable.remove_leftovers(self._checkpoints)
            durable.remove_leftovers(self._snapshots)
            durable.write_json(self.path / _HOLDER, {"pid": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            lock.release()

    @property
    def is_finished(self) -> bool:
        """Whether training has ended and the weights to share were published."""
        return (self.path / _WEIGHTS).exists()

    def save(
        self,
        step: int,
        *,
        model: Mapping[str, "Tensor"],
        optimizer: Mapping[str, "Tensor"],
        state: Mapping[str, object],
    ) -> Path:
        """Write the checkpoint of `step`, then remove all but the newest two and the best; return its path.

        Append the metrics up to `step` before. Raises TrainingError; what was saved before stays good.
        """
        path = checkpoint_files.write_checkpoint(
            self._checkpoints, step, model=model, optimizer=optimizer, state=state, binds=self.binds
        )
        checkpoint_files.prune(self._checkpoints, checkpoint_files.newest_verified_steps(self._checkpoints, _KEPT))
        return path

    def checkpoints(self) -> list[int]:
        """Return the steps of the checkpoints that are there, verified or not, in ascending order."""
        found = checkpoint_files.checkpoint_folders(self._checkpoints)
        return sorted({int(path.name.rstrip("~")) for path in found})

    def latest(self) -> Checkpoint:
        """Return the verified checkpoint of the highest step; its `notes` name damaged newer ones. Raises RunError."""
        return checkpoint_files.newest(self._checkpoints, binds=self.binds)

    def best(self) -> Checkpoint:
        """Return the verified checkpoint with the lowest validation bits per character, else the latest.

        Raises RunError.
        """
        return checkpoint_files.best(self._checkpoints, binds=self.binds)

    def weights(self) -> dict[str, "Tensor"]:
        """Return the published weights, or the best checkpoint's model where there are none or they are damaged.

        Raises RunError.
        """
        kept = self.best().model if checkpoint_files.checkpoint_folders(self._checkpoints) else None
        path = self.path / _WEIGHTS
        if kept is not None and not self.is_finished:
            return kept
        try:
            return checkpoint_files.decode_sealed(durable.read_bytes(path), path)
        except RunError:
            if kept is None:
                raise
            return kept

    def publish_weights(self, model: Mapping[str, "Tensor"]) -> None:
        """Write the weights to share, which also says that training has ended. Raises TrainingError."""
        data = checkpoint_files.encode_tensors(model, "the weights to publish", sealed=True)
        durable.write_bytes_durably(self.path / _WEIGHTS, data)

    def keep_snapshot(self, step: int, model: Mapping[str, "Tensor"], *, every: int) -> None:
        """Keep the model of `step` at half precision for whoever asks later how it came to be; thin out earlier ones.

        `every` is the number of steps from one to the next. Raises TrainingError.
        """
        snapshot_files.keep(self._snapshots, step, model, every=every)

    def snapshots(self) -> list[int]:
        """Return the steps whose weights were kept, in ascending order; a run of an earlier version has none."""
        return snapshot_files.steps_in(self._snapshots)

    def snapshot(self, step: int) -> dict[str, "Tensor"]:
        """Return the weights of one of `snapshots()`, float32. Raises RunError when it is missing or damaged."""
        return snapshot_files.read(self._snapshots, step)

    def append_metric(self, metric: Mapping[str, object]) -> None:
        """Append one report, an object with its `step`, to the metrics. Raises TrainingError."""
        durable.append_json_line(self.path / _METRICS, metric)

    def append_sample(self, sample: Mapping[str, object]) -> None:
        """Append one text that the model wrote, an object with its `step`. Raises TrainingError."""
        durable.append_json_line(self.path / _SAMPLES, sample)

    def metrics(self) -> list[dict[str, Any]]:
        """Return all reports, oldest first. Raises RunError."""
        return durable.read_json_lines(self.path / _METRICS)

    def samples(self) -> list[dict[str, Any]]:
        """Return all samples, oldest first. Raises RunError."""
        return durable.read_json_lines(self.path / _SAMPLES)

    def truncate_logs_after(self, step: int) -> None:
        """Remove what logs and snapshots tell of later steps, which a run resumed at `step` writes again.

        Raises RunError or TrainingError.
        """
        for name in (_METRICS, _SAMPLES):
            durable.keep_json_lines(self.path / name, lambda line: _step_of(line) <= step)
        snapshot_files.remove_after(self._snapshots, step)

    @property
    def _checkpoints(self) -> Path:
        return self.path / _CHECKPOINTS

    @property
    def _snapshots(self) -> Path:
        return self.path / _SNAPSHOTS

    def _holder(self) -> str:
        try:
            holder = durable.read_json(self.path / _HOLDER)
        except RunError:
            return "another process"
        return f"process {holder.get('pid')} on {holder.get('host')}"


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs: `newest` is the last metric, `error` says why a damaged run cannot be read."""

    path: Path
    family: str = ""
    description: str = ""
    newest: dict[str, Any] | None = None
    finished: bool = False
    error: str | None = None


def list_runs(folder: Path | str) -> list[RunSummary]:
    """Return the runs in `folder` by name, quickly (checkpoints are not verified); a damaged one carries its error.

    Raises RunError when there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(expected="a folder of runs", received=str(folder), remedy="give the folder that holds the runs")
    with durable.looking_at(folder):
        return [_summary(path) for path in _run_paths(folder)]


def _summary(path: Path) -> RunSummary:
    try:
        config = RunFolder.open(path).config
        newest = durable.read_last_json_line(path / _METRICS)
    except UnrolledError as error:
        return RunSummary(path, error=str(error))
    return RunSummary(
        path,
        family=str(config.get("family", "")),
        description=str(config.get("description", "")),
        newest=newest,
        finished=(path / _WEIGHTS).exists(),
    )


def _run_paths(folder: Path) -> list[Path]:
    """Return what looks like a run in `folder`, damaged ones too."""
    if not folder.is_dir():
        return []
    children = sorted(path for path in folder.iterdir() if not durable.is_temporary(path.name))
    return [path for path in children if (path / _CONFIG).exists() or (path / _CHECKPOINTS).is_dir()]


def _check_is_a_run(path: Path) -> None:
    if not path.exists():
        siblings = [run.name for run in _run_paths(path.absolute().parent)]
        hint = nearest(path.name, siblings) if siblings else "train one first: unrolled train TEXT --run DIR"
        raise RunError(expected="a run folder", received=f"{path}, which does not exist", remedy=hint)
    if not (path / _CONFIG).exists():
        raise RunError(
            expected=f"a run folder with {_CONFIG}", received=str(path), remedy="give the folder that train made"
        )


def _check_is_free(path: Path) -> None:
    if (path / _CONFIG).exists():
        raise _is_a_run(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            expected=f"a new or empty folder at {path}",
            received="a folder with other files" if path.is_dir() else "a file",
            remedy="choose another --run",
        )


def _step_of(line: Mapping[str, Any]) -> int:
    step = line.get("step")
    return step if isinstance(step, int) else 0


def _is_a_run(path: Path) -> RunError:
    return RunError(
        expected=f"a new or empty folder at {path}",
        received="a run",
        remedy="continue it with --resume, or choose another --run",
    )
