"""A machine becomes a run folder: its weights, and lines of its own work as the text.

Every verb can open such a folder like that of a trained run. Knows nothing about how machines are written down, and
nothing about terminals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from unrolled.errors import ConfigError, nearest
from unrolled.laboratory import Run, open_run
from unrolled.programs.answer_key import features_file
from unrolled.programs.assemble import Weights, assemble, depths
from unrolled.programs.circuit import compile_program
from unrolled.programs.classic import elman, lstm_counter
from unrolled.programs.own_text import folder_with_text
from unrolled.programs.program import Program
from unrolled.programs.stream import examples_text, lower
from unrolled.programs.turing import Machine, TuringMachine
from unrolled.text.corpus import Corpus, TextOptions, corpus_from_text
from unrolled.training import durable
from unrolled.training.config import TrainingConfig
from unrolled.training.evaluation import Protocol, evaluate_part
from unrolled.training.experiment import load_weights

FEATURES = "features.py"
CHARACTERS = 60_000
CELLS = 256
"""Enough for stacks of some two thousand symbols."""
SPLIT = (0.5, 0.25, 0.25)
"""Nothing was learned from the text, so half of it is left to search and to score on."""
DEPTH = 16
"""Memories in the example lines hold no more than this, so that every arithmetic can follow them."""


@dataclass(frozen=True)
class Form:
    """A kind of network that programs are compiled into; `cells` is the most memory cells of a stack that it takes."""

    weights: Callable[[Program, int], Weights]
    cells: int = 0


FORMS: Mapping[str, Form] = {
    "circuit": Form(lambda program, cells: assemble(compile_program(program, unary=cells > 0), cells=cells), 2**20),
    "rnn": Form(lambda program, _cells: elman(program)),
    "lstm": Form(lambda program, _cells: lstm_counter(program)),
}
"""Units with names, a plain Elman network, a plain LSTM."""


def write_compiled(
    machine: Machine | TuringMachine,
    path: Path | str,
    *,
    form: str = "circuit",
    cells: int | None = None,
    characters: int = CHARACTERS,
    seed: int = 1,
) -> Run:
    """Compile a machine, write its run folder and return the run.

    `form` is one of `FORMS`. A circuit holds each stack in numbers of few bits and `cells` memory cells (None: `CELLS`
    where there are stacks), or, with 0 of them, in one number in float64. Raises MachineError for a machine that the
    form cannot hold, ConfigError for an unknown form, RunError where there is a run already.
    """
    if form not in FORMS:
        raise ConfigError(expected="a form to compile into", received=repr(form), remedy=nearest(form, FORMS))
    program = lower(machine)
    if cells is None:
        stacked = any(not memory.counter for memory in program.memories)
        cells = min(CELLS if stacked else 0, FORMS[form].cells)
    if not 0 <= cells <= FORMS[form].cells:
        raise ConfigError(
            expected=f"0 to {FORMS[form].cells} memory cells for {form}", received=str(cells), remedy="change --cells"
        )
    config, vocabulary, weights = FORMS[form].weights(program, cells)
    holding = dict.fromkeys((memory.name for memory in program.memories), DEPTH)
    if not cells:
        exact = depths(compile_program(program))
        holding = {name: min(DEPTH, exact[name]) for name in holding}
    shallow = min(holding.values(), default=DEPTH)
    text = examples_text(machine, seed, characters, depth=shallow, holding=holding)
    corpus = corpus_from_text(text, TextOptions(split=SPLIT), vocabulary=vocabulary)
    model = config.build(vocabulary.size)
    load_weights(model, weights, machine.name)
    place, training = Path(path), TrainingConfig(steps=0, seed=seed)
    folder = folder_with_text(place, text, corpus, config=config, model=model, training=training)
    durable.write_bytes_durably(place / FEATURES, features_file(machine).encode())
    folder.append_metric(_metric(model, corpus))
    folder.publish_weights(dict(model.state_dict()))
    return open_run(place)


def _metric(model: torch.nn.Module, corpus: Corpus) -> dict[str, object]:
    score = evaluate_part(model.eval(), corpus, "valid", Protocol(), lanes=1)  # type: ignore[arg-type]
    return {"step": 0, "chars": 0, "valid_bits_per_char": score.bits_per_char, "rate": 0.0, "seconds": 0.0}
