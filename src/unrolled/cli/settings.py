"""What happens between the words a person typed and the values a verb gets: `--config`, and texts that are none.

Knows nothing about any verb: it sees arguments and tokens.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from cyclopts import App, ArgumentCollection, Token, UnknownOptionError
from cyclopts.argument import Argument

from unrolled.errors import ConfigError, nearest


def settle(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill in what the file after `--config` says and was not typed; refuse misspelt options among the texts."""
    named = {
        argument.name.lstrip("-").lower(): argument for argument in arguments if argument.parse and argument.name != "*"
    }
    for token in named["texts"].tokens if "texts" in named else ():
        if token.value.startswith("-") and token.value != "-" and not Path(token.value).exists():
            raise UnknownOptionError(token=token, argument_collection=arguments)
    if "config" in named and named["config"].tokens:
        path = Path(named.pop("config").tokens[-1].value)
        for key, value in _read(path).items():
            _fill(named, key, value, str(path))


def _read(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        problem = f"{path}, where this is wrong: {error}"
    except UnicodeDecodeError:
        problem = f"{path}, which is not UTF-8 text"
    except OSError as error:
        problem = f"{str(path)!r}: {error.strerror or error}"
    raise ConfigError(expected="a TOML file after --config", received=problem, remedy="correct the file or its name")


def _fill(named: Mapping[str, Argument], key: str, value: object, source: str) -> None:
    argument = named.get(key.replace("_", "-"))
    if argument is None:
        raise ConfigError(expected=f"an option in {source}", received=repr(key), remedy=nearest(key, named))
    if argument.tokens:
        return
    if key == "split" and isinstance(value, list):
        value = ",".join(map(str, value))
    values = value if key == "texts" and isinstance(value, list) else [value]
    kinds = bool if argument.hint is bool else (int, float, str)
    for index, one in enumerate(values):
        if not isinstance(one, kinds) or isinstance(one, bool) != (kinds is bool):
            raise ConfigError(
                expected=f"{'true or false' if kinds is bool else 'one value'} for {key} in {source}",
                received=str(value).lower() if isinstance(value, bool) else repr(value),
                remedy="correct it",
            )
        argument.append(Token(keyword=f"--{key}", value=str(one), source=source, index=index))
