"""What config.json says about a run, read strictly into one value.

Knows nothing about folders or training: JSON values in, JSON values out.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.errors import RunError, UnrolledError
from unrolled.models import ModelConfig
from unrolled.models.config import from_fields
from unrolled.text.corpus import IN_MEMORY, Corpus, Fingerprint, TextOptions
from unrolled.training.config import TrainingConfig
from unrolled.training.run_folder import FORMAT_VERSION


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run's configuration: the model, how it is trained, and the text it is trained on.

    `sources` are the text's names as they were given, seen from `folder`; `characters` is the size of each part;
    `environment` is what must be the same for a resumed run to make the same bytes.
    """

    model: ModelConfig
    training: TrainingConfig
    parameters: int
    options: TextOptions
    sources: tuple[str, ...]
    folder: str
    fingerprint: Fingerprint
    characters: Mapping[str, int]
    environment: Mapping[str, object]

    @property
    def description(self) -> str:
        """One line about the model: `lstm lstm, width 256, 1,087,298 parameters`."""
        return describe(self.model, self.parameters)

    def to_json(self, version: str) -> dict[str, object]:
        """Return what config.json holds; `version` is unrolled's."""
        return {
            "format": FORMAT_VERSION,
            "unrolled": version,
            "family": self.model.pattern(),
            "description": self.description,
            "parameters": self.parameters,
            "text": {
                "sources": list(self.sources),
                "folder": self.folder,
                "options": {**dataclasses.asdict(self.options), "split": list(self.options.split)},
                "fingerprint": dataclasses.asdict(self.fingerprint),
                "characters": dict(self.characters),
            },
            "model": self.model.to_json(),
            "training": dataclasses.asdict(self.training),
            "environment": dict(self.environment),
        }

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "RunConfig":
        """Read what `to_json` wrote. Raises RunError or ConfigError, which say what is wrong."""
        text = _object(config, "text")
        try:
            return cls(
                model=ModelConfig.from_json(_object(config, "model")),
                training=from_fields(TrainingConfig, _object(config, "training")),
                parameters=int(config["parameters"]),
                options=TextOptions(**_object(text, "options")),
                sources=tuple(str(source) for source in text["sources"]),
                folder=str(text["folder"]),
                fingerprint=Fingerprint(**_object(text, "fingerprint")),
                characters={str(part): int(size) for part, size in _object(text, "characters").items()},
                environment=_object(config, "environment"),
            )
        except UnrolledError:
            raise
        except (KeyError, TypeError, ValueError) as problem:
            raise RunError(
                expected="a config.json as this version writes it",
                received=f"one with a missing or wrong entry ({type(problem).__name__}: {str(problem)[:80]})",
                remedy="restore the file or train a new run",
            ) from None

    def find_sources(self) -> list[str]:
        """Return where the text can be read again. Raises RunError when it came from standard input or memory."""
        for gone, what in (("-", "standard input"), (IN_MEMORY, "memory")):
            if gone in self.sources:
                raise RunError(
                    expected="a text that can be read again",
                    received=f"one that came from {what}",
                    remedy="name a file with the same text, or pipe it in again and name it -",
                )
        there = Path(self.folder)
        return [
            name if name.startswith("builtin:") or not (there / name).exists() else str(there / name)
            for name in self.sources
        ]

    def is_text(self, corpus: Corpus) -> bool:
        """Say whether a corpus is this run's own text, cut into the same parts."""
        sizes = {name: len(ids) for name, ids in corpus.parts.items()}
        return corpus.fingerprint == self.fingerprint and sizes == dict(self.characters)


def describe(model: ModelConfig, parameters: int) -> str:
    """Return one line about a model: `lstm lstm, width 256, 1,087,298 parameters`."""
    plain = ", plain" if model.stack.plain else ""
    dropout = f", dropout {model.stack.dropout:g}" if model.stack.dropout else ""
    return f"{model.pattern()}, width {model.stack.width}, {parameters:,} parameters{plain}{dropout}"


def _object(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = config.get(name)
    if not isinstance(value, dict):
        raise RunError(
            expected=f"a config.json whose {name!r} is an object",
            received=repr(value)[:60],
            remedy="restore the file or train a new run",
        )
    return value
