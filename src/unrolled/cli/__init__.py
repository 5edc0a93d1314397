"""The command line: one file per verb; each parses, calls and prints.

Knows nothing about torch until a verb needs it: `unrolled --help` starts at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError
from cyclopts.config import Toml
from rich.console import Console

from unrolled import __version__
from unrolled.cli.bench import bench
from unrolled.cli.console import complain, silence_stdout
from unrolled.cli.corpora import corpora
from unrolled.cli.demo import demo
from unrolled.cli.doctor import doctor
from unrolled.cli.runs import runs, show
from unrolled.cli.sample import sample
from unrolled.cli.score import score
from unrolled.cli.train import train
from unrolled.errors import ConfigError, UnrolledError

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when all went well, 2 after bad input, 128 + n after signal n."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status; every error becomes one line on stderr."""
    try:
        status = _app(arguments)(arguments, exit_on_error=False, print_error=False)
    except UnrolledError as error:
        complain(str(error))
        return BAD_INPUT
    except CycloptsError as error:
        complain(_explained(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        complain("interrupted; nothing was lost that had been written")
        return 130
    except BrokenPipeError:
        silence_stdout()
        return 141
    except MemoryError:
        complain("expected enough memory for this, got none left; lower --params, --lanes or --unroll")
        return BAD_INPUT
    return status if isinstance(status, int) else 0


def _app(arguments: list[str]) -> App:
    app = App(
        name="unrolled",
        help="A laboratory for character-level sequence models: train one on your text, watch it learn, let it write.",
        help_epilogue="Start with:  unrolled demo   or   unrolled train book.txt --minutes 3",
        version=__version__,
        help_format="plaintext",
        config=_config_file(arguments),
        error_console=Console(stderr=True),
        result_action="return_value",
    )
    for place, verb in enumerate((demo, train, sample, score, runs, show, corpora, doctor, bench)):
        app.command(verb, sort_key=place)
    return app


def _config_file(arguments: list[str]) -> list[Toml]:
    """Return the file that --config names, to be read under the options typed here."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if argument == "--":
            break
        if name == "--config":
            path = Path(value if equals else next(iter(arguments[position + 1 :]), ""))
            if not path.is_file():
                raise ConfigError(
                    expected="a TOML file after --config", received=repr(str(path)), remedy="give the path of a file"
                )
            return [Toml(path, use_commands_as_keys=False, must_exist=True)]
    return []


def _explained(error: CycloptsError) -> str:
    """Return cyclopts' message in one line, with what to do."""
    message = " ".join(str(error).split()).rstrip(".")
    return f"{message}; `unrolled --help` lists the verbs, `unrolled VERB --help` their options"
