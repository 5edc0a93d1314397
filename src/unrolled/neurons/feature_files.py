"""Features that a user writes: a Python file of plain functions becomes a list of features.

Knows nothing about what the features are used for.
"""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import numpy as np

from unrolled.errors import ConfigError
from unrolled.neurons.features import FEATURES, Feature, Kind, description_of, name_of
from unrolled.neurons.features_arrays import number

_PROBE = 'One line, "quoted".\n\n    two = (2, [3])  # and more\n'
_SIGNATURE = "`def my_feature(text):`"


def load_features(path: Path | str) -> list[Feature]:
    """Return the features of a Python file, in the order they are written.

    Every public function defined in it whose one parameter is called `text` is one: its name with hyphens, the
    docstring's first line as description (without one the name in words), the kind by the type of what it returns for a
    short text (bool: `yes-no`, integer or floating: `number`). It must return an array or a list with one label per
    character. What it returns is checked whenever it is called.

    Raises:
        ConfigError: the file is missing, is no Python, fails while it runs, or holds no such function; a name is taken
            by a built-in feature; a function fails or returns something else. The `labels` of the features raise it
            too.
    """
    path = Path(path)
    module = _module(path)
    found = [
        function
        for name, function in vars(module).items()
        if isinstance(function, FunctionType)
        and not name.startswith("_")
        and function.__module__ == module.__name__
        and _takes_a_text(function)
    ]
    if not found:
        raise ConfigError(
            expected=f"a Python file with at least one function {_SIGNATURE}",
            received=f"{path}, which has none",
            remedy="call its one parameter text; names that begin with _ are left alone",
        )
    return [_feature(function, path) for function in dict.fromkeys(found)]


class _Loader(SourceFileLoader):
    """Runs the file as it is now: no compiled copy is read, and none is left beside it."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _module(path: Path) -> ModuleType:
    wanted = "a Python file with features"
    if not path.is_file():
        received = f"{path}, which is {'not a file' if path.exists() else 'not there'}"
        raise ConfigError(expected=wanted, received=received, remedy="check the path")
    name = f"unrolled_features_of_{path.stem}"
    loader = _Loader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    kept = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up there while it runs
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            expected=wanted, received=f"{path}, where {_account(error, path)}", remedy="correct the file"
        ) from None
    finally:
        if kept is None:
            del sys.modules[name]
        else:
            sys.modules[name] = kept
    return module


def _account(error: BaseException, path: Path) -> str:
    """Return what went wrong and in which line of the file, in a few words."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"line {error.lineno} is no Python ({error.msg})"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f"line {lines[-1]}" if lines else "the file"
    return f"{where} raises {type(error).__name__}: {error}".removesuffix(": ")


def _takes_a_text(function: FunctionType) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    return (
        len(parameters) == 1
        and parameters[0].name == "text"
        and parameters[0].default is inspect.Parameter.empty
        and parameters[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    )


def _feature(function: FunctionType, path: Path) -> Feature:
    name = name_of(function)
    if any(feature.name == name for feature in FEATURES):
        raise ConfigError(
            expected="features with names of their own",
            received=f"{function.__name__} in {path}, the name of a built-in feature",
            remedy="give the function another name",
        )
    kind: Kind = "yes-no" if _call(function, path, _PROBE).dtype == bool else "number"
    return Feature(
        name, description_of(function) or name.replace("-", " "), kind, _checked(function, path, kind), causal=False
    )


def _checked(function: FunctionType, path: Path, kind: Kind) -> Callable[[str], np.ndarray]:
    def labels(text: str) -> np.ndarray:
        labels_T = _call(function, path, text)
        if (labels_T.dtype == bool) != (kind == "yes-no"):
            raise _refused(function, path, f"labels of type {labels_T.dtype}, after another type for another text")
        return labels_T if kind == "yes-no" else number(labels_T)

    return labels


def _call(function: FunctionType, path: Path, text: str) -> np.ndarray:
    try:
        labels_T = function(text)
    except (Exception, SystemExit) as error:
        raise _refused(function, path, _account(error, path)) from None
    if isinstance(labels_T, list | tuple):
        try:
            labels_T = np.asarray(labels_T)
        except ValueError:
            raise _refused(function, path, f"a {type(labels_T).__name__} of unlike things") from None
    if not isinstance(labels_T, np.ndarray):
        raise _refused(function, path, f"an object of type {type(labels_T).__name__}")
    if labels_T.shape != (len(text),):
        raise _refused(function, path, f"shape {labels_T.shape} for {len(text):,} characters")
    if labels_T.dtype.kind not in "biuf":
        raise _refused(function, path, f"labels of type {labels_T.dtype}")
    return labels_T


def _refused(function: FunctionType, path: Path, received: str) -> ConfigError:
    return ConfigError(
        expected=f"{function.__name__} in {path} to return an array or list of bool or float, one label per character",
        received=received,
        remedy="correct the function",
    )
