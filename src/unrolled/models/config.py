"""A model's configuration: a layer pattern and the stack around it, to and from text and JSON, strictly.

Knows nothing about any family but its name in FAMILIES and the fields of its config.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch

from unrolled.errors import ConfigError, nearest
from unrolled.models.families import FAMILIES
from unrolled.models.sequence_model import LayerConfig, parameter_count
from unrolled.models.stack import Stack, StackConfig

MAX_LAYERS = 256
C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that shapes a model but its vocabulary: the stack and one config per layer, first to last."""

    stack: StackConfig
    layers: tuple[LayerConfig, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ConfigError(
                expected=f"1 to {MAX_LAYERS} layers", received=f"{len(self.layers)}", remedy="name at least one layer"
            )

    def build(self, vocab_size: int) -> Stack:
        """Return a freshly initialised model; the weights come from torch's random generator."""
        seen: dict[type[LayerConfig], int] = {}
        branches = []
        for layer in self.layers:
            index = seen.get(type(layer), 0)
            seen[type(layer)] = index + 1
            branches.append(layer.build(self.stack.width, index))
        return Stack(vocab_size, self.stack, branches)

    def untrained(self) -> "ModelConfig":
        """Return the configuration for a copy with random weights (see `LayerConfig.untrained`)."""
        return dataclasses.replace(self, layers=tuple(layer.untrained() for layer in self.layers))

    def pattern(self) -> str:
        """Return the layer pattern in words, `lstm lstm`."""
        return " ".join(family_of(layer) for layer in self.layers)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values; `from_json` is the inverse."""
        return {
            "stack": dataclasses.asdict(self.stack),
            "layers": [{"family": family_of(layer), **_fields_of(layer)} for layer in self.layers],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "ModelConfig":
        """Read what `to_json` wrote; an unknown, missing or mistyped key raises ConfigError and names the nearest."""
        if set(value) != {"stack", "layers"} or not isinstance(value["layers"], list):
            raise ConfigError(
                expected="a model with the keys 'stack' and 'layers'",
                received=", ".join(sorted(map(str, value))),
                remedy="restore the configuration file",
            )
        layers = []
        for layer in value["layers"]:
            fields = dict(_object(layer, "a layer"))
            family = family_named(str(fields.pop("family", "")))
            layers.append(from_fields(family, fields))
        return cls(stack=from_fields(StackConfig, _object(value["stack"], "the stack")), layers=tuple(layers))


def family_of(layer: LayerConfig) -> str:
    """Return the name under which a layer's family stands in FAMILIES."""
    for name, config in FAMILIES.items():
        if config is type(layer):
            return name
    raise ConfigError(
        expected="a family that stands in FAMILIES", received=type(layer).__name__, remedy="add its line to FAMILIES"
    )


def family_named(name: str) -> type[LayerConfig]:
    """Return the config class of a family; an unknown name raises ConfigError with the nearest known one."""
    if name not in FAMILIES:
        raise ConfigError(expected="a family", received=repr(name), remedy=nearest(name, FAMILIES))
    return FAMILIES[name]


_LAYER = re.compile(r"(?P<family>[\w-]+)(?:\((?P<options>[^()]*)\))?(?:\*(?P<times>\d+))?")


def parse_layers(pattern: str) -> tuple[LayerConfig, ...]:
    """Read a layer pattern: families in order, each with options and a count if wanted.

    `lstm lstm`, `lstm*2`, `wavenet*4 transformer(window=64, heads=2)`. Raises ConfigError.
    """
    layers: list[LayerConfig] = []
    rest = pattern.strip()
    while rest:
        found = _LAYER.match(rest)
        if found is None or (found.end() < len(rest) and not rest[found.end()].isspace()):
            raise ConfigError(
                expected="a layer pattern such as 'wavenet wavenet transformer(window=64)' or 'lstm*2'",
                received=repr(pattern),
                remedy=f"correct it at {rest[:20]!r}",
            )
        family = family_named(found["family"])
        options = [option for option in (found["options"] or "").split(",") if option.strip()]
        values = dict(_option(family, option) for option in options)
        if len(values) < len(options):
            raise ConfigError(
                expected="each option of a layer once", received=repr(found[0]), remedy="leave the repeated one out"
            )
        layer = from_fields(family, values)
        layers.extend([layer] * min(int((found["times"] or "1")[:9]), MAX_LAYERS + 1))
        rest = rest[found.end() :].strip()
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise ConfigError(
            expected=f"1 to {MAX_LAYERS} layers", received=repr(pattern), remedy="name at least one layer"
        )
    return tuple(layers)


def width_for(layers: tuple[LayerConfig, ...], stack: StackConfig, vocab_size: int, parameters: int) -> int:
    """Return the width at which a model of these layers has as nearly as possible `parameters` numbers."""

    def count(width: int) -> int:
        config = ModelConfig(stack=dataclasses.replace(stack, width=width), layers=layers)
        with torch.device("meta"):
            return parameter_count(config.build(vocab_size))

    smallest = count(1)
    if parameters < smallest:
        raise ConfigError(
            expected=f"at least {smallest} parameters for these layers and {vocab_size} symbols",
            received=str(parameters),
            remedy="ask for more with --params, or for fewer layers",
        )
    low, high = 1, 2
    while count(high) < parameters and high < 65536:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - parameters))


def from_fields(config: type[C], values: Mapping[str, object]) -> C:
    """Build a config dataclass from plain values; every key must be a field and every value of the field's type."""
    fields = {field.name: field for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    checked: dict[str, object] = {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(
                expected=f"an option of {config.__name__}", received=repr(name), remedy=_known(name, fields)
            )
        kind = fields[name].type
        plain = float(value) if kind is float and type(value) is int else value
        plain = _tuples(plain) if kind is tuple else plain
        if type(plain) is not kind:
            raise ConfigError(
                expected=f"{name} to be of type {getattr(kind, '__name__', kind)}",
                received=repr(value),
                remedy="correct its value",
            )
        checked[name] = plain
    missing = [
        name
        for name, field in fields.items()
        if name not in checked and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(
            expected=f"a value for {missing[0]}", received="none", remedy=f"give {config.__name__} its {missing[0]}"
        )
    return config(**checked)


def _tuples(value: object) -> object:
    """Return lists, which are what JSON has for tuples, as tuples, at every depth."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _fields_of(layer: LayerConfig) -> dict[str, object]:
    return {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}  # type: ignore[arg-type]


def _known(name: str, fields: Mapping[str, object]) -> str:
    return nearest(name, fields) if fields else "leave it out: there are no options"


def _option(family: type[LayerConfig], text: str) -> tuple[str, object]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ConfigError(
            expected="an option such as window=64", received=repr(text.strip()), remedy="write name=value"
        )
    kinds = {field.name: field.type for field in dataclasses.fields(family)}  # type: ignore[arg-type]
    kind = kinds.get(name, str)
    if kind is tuple:
        raise ConfigError(
            expected="an option with one value",
            received=f"{name}={value}",
            remedy="leave it out: only a program sets it",
        )
    try:
        if kind is bool:
            return name, {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        return name, kind(value)  # type: ignore[operator]
    except (ValueError, KeyError):
        raise ConfigError(
            expected=f"{name} to be of type {kind.__name__}",  # type: ignore[union-attr]
            received=repr(value),
            remedy="correct its value",
        ) from None


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(
            expected=f"{what} as an object", received=repr(value)[:60], remedy="restore the configuration"
        )
    return value
