"""The command line: one file per verb; each parses, calls and prints.

Knows nothing about torch until a verb needs it: `unrolled --help` starts at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cyclopts import App, CycloptsError, Group

from unrolled import __version__
from unrolled.cli.bench import bench
from unrolled.cli.console import Printer, complain, open_streams, silence
from unrolled.cli.corpora import corpora
from unrolled.cli.demo import demo
from unrolled.cli.doctor import doctor
from unrolled.cli.import_page import import_
from unrolled.cli.machine import machine_compile, machine_list, machine_run, machine_step
from unrolled.cli.mistakes import explained
from unrolled.cli.neurons import neurons
from unrolled.cli.runs import runs, show
from unrolled.cli.sample import sample
from unrolled.cli.score import score
from unrolled.cli.settings import settle
from unrolled.cli.task import task_list, task_table, task_train
from unrolled.cli.task_extract import task_extract
from unrolled.cli.train import train
from unrolled.errors import UnrolledError

BAD_INPUT = 2


class Verb(NamedTuple):
    """A verb of the command line: the function that does it, how it is typed, and examples for its help.

    A verb of two words has its first one as `of`: `unrolled machine run` is the function `machine_run`.
    """

    action: Callable[..., int]
    usage: str
    examples: tuple[str, ...]
    of: str = ""

    @property
    def name(self) -> str:
        """How it is typed: the function's name, without the underscore that a word of Python needs."""
        return self.action.__name__.removeprefix(f"{self.of}_").rstrip("_")


VERBS = (
    Verb(demo, "[OPTIONS]", ("unrolled demo", "unrolled demo --minutes 10")),
    Verb(
        train,
        "TEXT... [OPTIONS]",
        (
            "unrolled train book.txt --minutes 3",
            "unrolled train notes/ 'essays/*.md' --family gru --params 1M",
            "cat letters.txt | unrolled train - --steps 2000 --run runs/letters",
            "unrolled train manual --layers 'wavenet wavenet transformer(window=64)'",
            "unrolled train --resume --run runs/letters",
        ),
    ),
    Verb(
        sample,
        "RUN [OPTIONS]",
        ("unrolled sample runs/book-lstm", 'unrolled sample runs/book-lstm --prompt "It was" --temperature 0.5'),
    ),
    Verb(
        score,
        "RUN [TEXT...] [OPTIONS]",
        ("unrolled score runs/book-lstm", "unrolled score runs/book-lstm other.txt --protocol reset:256 --json"),
    ),
    Verb(
        neurons,
        "RUN [TEXT...] [OPTIONS]",
        (
            "unrolled neurons runs/book-lstm",
            "unrolled neurons runs/book-lstm --page book.html --over-training",
            'unrolled neurons runs/book-lstm --show "layer1.cell[137]"',
            "unrolled neurons runs/book-lstm other.txt --features mine.py --json",
        ),
    ),
    Verb(runs, "[DIR] [OPTIONS]", ("unrolled runs",)),
    Verb(show, "RUN [OPTIONS]", ("unrolled show runs/book-lstm",)),
    Verb(import_, "FILE [OPTIONS]", ("unrolled import quotes.html", "unrolled import quotes.html --run runs/quotes")),
    Verb(machine_list, "[OPTIONS]", ("unrolled machine list",), "machine"),
    Verb(
        machine_run,
        "MACHINE [INPUT] [OPTIONS]",
        ("unrolled machine run binary-addition 1011+110", "unrolled machine run mine.machine abba --json"),
        "machine",
    ),
    Verb(machine_step, "MACHINE [INPUT] [OPTIONS]", ('unrolled machine step dyck-2 "([])"',), "machine"),
    Verb(
        machine_compile,
        "MACHINE --out RUN [OPTIONS]",
        ("unrolled machine compile parity --out runs/parity", "unrolled machine compile mine.machine --out runs/mine"),
        "machine",
    ),
    Verb(task_list, "[OPTIONS]", ("unrolled task list",), "task"),
    Verb(
        task_train,
        "TASK [OPTIONS]",
        ("unrolled task train parity", "unrolled task train reverse --family stackrnn --steps 1200"),
        "task",
    ),
    Verb(
        task_table,
        "--out DIR [OPTIONS]",
        ("unrolled task table --tasks parity,even-pairs --families rnn,lstm,transformer --out table",),
        "task",
    ),
    Verb(
        task_extract,
        "RUN [OPTIONS]",
        ("unrolled task extract runs/parity-lstm", "unrolled task extract runs/parity-lstm --svg automaton.svg"),
        "task",
    ),
    Verb(corpora, "[OPTIONS]", ("unrolled corpora",)),
    Verb(doctor, "[OPTIONS]", ("unrolled doctor --json",)),
    Verb(bench, "[WORD...] [OPTIONS]", ("unrolled bench", "unrolled bench lstm --json")),
)

TOPICS: dict[str, str] = {
    "machine": "Automata, stacks and Turing machines: run them, watch them, compile them into a network's weights.",
    "task": "What a family can learn to compute, and how far beyond the lengths of training it can do it.",
}
"""What the verbs of two words are about, by their first word."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when all went well, 2 after bad input, 128 + n after signal n."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status; every error becomes one line on stderr."""
    open_streams()
    status = BAD_INPUT
    try:
        status = _app()(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except UnrolledError as error:
        complain(str(error))
    except CycloptsError as error:
        complain(str(explained(error, _words(tuple(error.command_chain or ())))))
    except KeyboardInterrupt:
        complain("interrupted; nothing was lost that had been written")
        status = 130
    except BrokenPipeError:
        silence()
        status = 141
    except OSError as error:
        complain(f"expected to read and write files, got {error.strerror or error}{_about(error)}; look after it")
        silence()
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error) and "out of memory" not in str(error):
            raise
        complain("expected enough memory for this, got none left; lower --params, --lanes or --unroll")
    return status if isinstance(status, int) else 0


def _words(chain: tuple[str, ...]) -> list[str]:
    """Return the verbs that could stand after the words of `chain`."""
    topic = chain[0] if chain and chain[0] in TOPICS else ""
    return [verb.name for verb in VERBS if verb.of == topic] + ([] if topic else [*TOPICS])


def _about(error: OSError) -> str:
    return f" about {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""


def _app() -> App:
    app = App(
        name="unrolled",
        help="A laboratory for character-level sequence models: train one on your text, watch it learn, let it write.",
        usage="Usage: unrolled VERB [OPTIONS]",
        help_epilogue=_examples(("unrolled demo", "unrolled train book.txt --minutes 3", "unrolled train --help")),
        version=__version__,
        help_format="plaintext",
        group_commands="Verbs",
        group_arguments=Group("What", sort_key=0),
        group_parameters=Group("Options", sort_key=9),
        config=[settle],
        console=Printer(),
        error_console=Printer(stderr=True),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    groups: dict[str, App] = {}
    for place, verb in enumerate(VERBS):
        if verb.of and verb.of not in groups:
            examples = [line for other in VERBS if other.of == verb.of for line in other.examples]
            groups[verb.of] = App(
                name=verb.of,
                help=TOPICS[verb.of],
                usage=f"Usage: unrolled {verb.of} VERB [OPTIONS]",
                help_epilogue=_examples(examples),
                group_commands="Verbs",
                sort_key=place,
            )
            app.command(groups[verb.of])
        usage = f"Usage: unrolled {verb.of} {verb.name} {verb.usage}".replace("  ", " ")
        into = groups[verb.of] if verb.of else app
        into.command(verb.action, name=verb.name, sort_key=place, usage=usage, help_epilogue=_examples(verb.examples))
    return app


def _examples(lines: Sequence[str]) -> str:
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])
