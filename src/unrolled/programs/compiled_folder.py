"""A machine becomes a run folder: its weights, and lines of its own work as the text.

Every verb can open such a folder like that of a trained run. Knows nothing about how machines are written down, and
nothing about terminals.
"""

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from unrolled.errors import ConfigError, RunError, nearest
from unrolled.laboratory import Run, open_run
from unrolled.programs.answer_key import features_file
from unrolled.programs.assemble import Weights, assemble, depths
from unrolled.programs.circuit import compile_program
from unrolled.programs.classic import COUNTS, elman, lstm_counter
from unrolled.programs.own_text import folder_with_text
from unrolled.programs.program import Program
from unrolled.programs.stream import LIMIT, Examples, examples, lower
from unrolled.programs.turing import Machine, TuringMachine
from unrolled.programs.units import Activation
from unrolled.text.corpus import Corpus, TextOptions, corpus_from_text
from unrolled.training import durable
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, evaluate_part
from unrolled.training.experiment import load_weights

FEATURES = "features.py"
CHARACTERS = 60_000
CELLS = 256
"""Enough for stacks of about a thousand symbols (1,032 of dyck-2's; where a symbol takes more bits, fewer)."""
SPLIT = (0.5, 0.25, 0.25)
"""Nothing was learned from the text, so half of it is left to search and to score on. Parts end where a line ends."""
DEPTH = 16
"""Memories in the example lines hold no more than this, so that every arithmetic can follow them."""


@dataclass(frozen=True)
class Form:
    """A kind of network that programs are compiled into.

    `weights` makes it, with so many memory cells and units of such an activation; `depths` says how much each memory
    may hold so that it is exact, `checked` whether more is an error (else it is wrong). `cells` is the most memory
    cells of a stack that it takes, `activations` what its units may be, the default first (none: nothing to choose).
    """

    weights: Callable[[Program, int, Activation], Weights]
    depths: Callable[[Program, int], Mapping[str, int]]
    cells: int = 0
    activations: tuple[str, ...] = ()
    checked: bool = False


ACTIVATIONS: Mapping[str, Activation] = {"saturated-linear": "clip", "heaviside": "step"}
FORMS: Mapping[str, Form] = {
    "circuit": Form(
        lambda program, cells, boolean: assemble(
            compile_program(program, unary=cells > 0, boolean=boolean), cells=cells
        ),
        lambda program, cells: depths(compile_program(program, unary=cells > 0), cells=cells),
        2**20,
        tuple(ACTIVATIONS),
        checked=True,
    ),
    "rnn": Form(lambda program, _cells, _boolean: elman(program), lambda _program, _cells: {}),
    "lstm": Form(
        lambda program, _cells, _boolean: lstm_counter(program),
        lambda program, _cells: dict.fromkeys((memory.name for memory in program.memories), COUNTS),
    ),
}
"""Units with names, a plain Elman network, a plain LSTM."""


@dataclass(frozen=True)
class CompileRequest:
    """What a machine is to become. `form` is one of `FORMS`, `activation` one of the form's (None: its first).

    A circuit holds each stack in numbers of few bits and `cells` memory cells (None: `CELLS` where there are stacks),
    or, with 0 of them, in one number in float64. `characters`, `limit` (the most tokens of an example's work) and
    `seed` are those of its text. Raises ConfigError.
    """

    form: str = "circuit"
    activation: str | None = None
    cells: int | None = None
    characters: int = CHARACTERS
    limit: int = LIMIT
    seed: int = 1

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(
                expected="a form to compile into", received=repr(self.form), remedy=nearest(self.form, FORMS)
            )
        form = FORMS[self.form]
        if self.activation is not None and self.activation not in form.activations:
            allowed = f"an activation for {self.form}: {' or '.join(form.activations)}"
            raise ConfigError(
                expected=allowed
                if form.activations
                else f"no --activation for {self.form}, whose units have their own",
                received=repr(self.activation),
                remedy="leave it out, or compile into a circuit",
            )
        if self.cells is not None and not 0 <= self.cells <= form.cells:
            raise ConfigError(
                expected=f"0 to {form.cells} memory cells for {self.form}",
                received=str(self.cells),
                remedy="change --cells",
            )

    def used_cells(self, program: Program) -> int:
        """Return how many memory cells each stack gets."""
        if self.cells is None:
            stacked = any(not memory.counter for memory in program.memories)
            return min(CELLS, FORMS[self.form].cells) if stacked else 0
        return self.cells if program.memories else 0


@dataclass(frozen=True)
class Compiled:
    """A compiled run. `depths`: how much each memory may hold; within them it is exact, at any length.

    `checked` says whether more is an error (else it is wrong), `counters` which memories count, `activation` what its
    units that are always 0 or 1 are (None: not to be chosen). `answered` says whether the lines of its text are whole,
    `bits` is what they cost per character.
    """

    run: Run
    depths: Mapping[str, int]
    counters: tuple[str, ...]
    checked: bool
    activation: str | None
    cells: int
    answered: bool
    bits: float


def write_compiled(
    machine: Machine | TuringMachine, path: Path | str, request: CompileRequest | None = None
) -> Compiled:
    """Compile a machine, write its run folder and return what it became.

    Raises MachineError for a machine that the form cannot hold, RunError where there is something already; then, and
    whatever else goes wrong, nothing is left behind.
    """
    request, place, program = request or CompileRequest(), Path(path), lower(machine)
    _refuse_taken(place)
    form, cells = FORMS[request.form], request.used_cells(program)
    activation = request.activation or next(iter(form.activations), None)
    config, vocabulary, weights = form.weights(program, cells, ACTIVATIONS.get(activation or "", "clip"))
    exact = form.depths(program, cells)
    found = _examples(machine, request, exact)
    text = "".join(found.lines)
    corpus = corpus_from_text(text, TextOptions(split=_split(found.lines)), vocabulary=vocabulary)
    model = config.build(vocabulary.size)
    load_weights(model, weights, machine.name)
    # What can go wrong goes wrong before there is a folder.
    metric, features = _metric(model, corpus), features_file(machine).encode()
    training = TrainingConfig(steps=0, seed=request.seed)
    folder = folder_with_text(place, text, corpus, config=config, model=model, training=training)
    try:
        durable.write_bytes_durably(place / FEATURES, features)
        folder.append_metric(metric)
        folder.publish_weights(dict(model.state_dict()))
        run = open_run(place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    counters = tuple(memory.name for memory in program.memories if memory.counter)
    bits = float(str(metric["valid_bits_per_char"]))
    return Compiled(run, exact, counters, form.checked, activation, cells, found.answered, bits)


def _refuse_taken(place: Path) -> None:
    with durable.looking_at(place):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise RunError(
                expected=f"a new or empty folder at {place}",
                received="a folder with files" if place.is_dir() else "a file",
                remedy="choose another --out, or remove it",
            )


def _examples(machine: Machine | TuringMachine, request: CompileRequest, exact: Mapping[str, int]) -> Examples:
    """Return lines that keep memories shallow, or, where there are none, lines that the network can follow at all."""
    shallow = {name: min(DEPTH, most) for name, most in exact.items()}
    depth = min(shallow.values(), default=DEPTH)

    def drawn(holding: Mapping[str, int]) -> Examples:
        return examples(machine, request.seed, request.characters, depth=depth, limit=request.limit, holding=holding)

    found = drawn(shallow)
    return found if found.answered else drawn(exact)


def _split(lines: Sequence[str]) -> tuple[float, float, float]:
    """Return `SPLIT`, moved to where lines end: a part that begins within a line cannot be foretold."""
    ends = [0, *itertools.accumulate(map(len, lines))]
    size = ends[-1]
    train = min(ends, key=lambda end: abs(end - SPLIT[0] * size))
    valid = min(ends, key=lambda end: abs(end - (SPLIT[0] + SPLIT[1]) * size))
    if not 0 < train < valid < size:
        return SPLIT
    return train / size, (valid - train) / size, (size - valid) / size


def _metric(model: torch.nn.Module, corpus: Corpus) -> dict[str, object]:
    score = evaluate_part(model.eval(), corpus, "valid", Protocol(), lanes=1)  # type: ignore[arg-type]
    return {"step": 0, "chars": 0, "valid_bits_per_char": score.bits_per_char, "rate": 0.0, "seconds": 0.0}
