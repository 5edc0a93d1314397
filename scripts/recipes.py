"""Measure what the recipes reach, and fit what a plan may be expected to reach.

    python scripts/recipes.py measure manual book.txt --minutes 0.5 1 3 --families lstm gru
    python scripts/recipes.py sweep manual book.txt --minutes 0.5 3 --families lstm --knobs width dropout
    python scripts/recipes.py sweep manual --minutes 3 --grid weight_decay=0.1,0.3 dropout=0,0.2
    python scripts/recipes.py sweep manual --minutes 3 --later list.json
    python scripts/recipes.py work list.json --jobs 2
    python scripts/recipes.py collect runs/book-lstm --minutes 20
    python scripts/recipes.py fit
    python scripts/recipes.py table

`measure` trains by the recipes, `sweep` with one knob turned at a time, or with every combination of a grid; each
appends one row per run to docs/results/recipes.json, and goes on where it was interrupted. Minutes are first turned
into steps, as `unrolled train` does it: by timing a few. With `--later` only that is done, on a quiet machine, and
`work` trains the list in so many processes of one thread each, for steps fixed beforehand do not depend on what else
runs. `collect` appends rows for runs that exist. Only validation parts are looked at. `table` prints what the sweeps
found. `fit` prints the coefficients of training/expectation.py and how far the fit is from each run; rows measured with
`--apart` are left out of the fit and show how far it is off elsewhere.
"""

import argparse
import functools
import itertools
import json
import multiprocessing
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

import unrolled
from unrolled.models import LayerConfig
from unrolled.models.config import family_of
from unrolled.training.expectation import ngram_bits, useful_characters

RECORDED = (
    "steps", "lanes", "unroll", "forget_every", "optimizer", "rate", "matrix_rate", "warm_up", "hold", "weight_decay",
    "average", "precision",
)  # fmt: skip
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "recipes.json"


@dataclass(frozen=True)
class Job:
    """One training: of what, by which recipe (minutes, family, seed), what is changed, and whether `fit` uses it."""

    text: str
    base: dict[str, object]
    changed: dict[str, object]
    fits: bool = True


KNOBS: dict[str, tuple[object, ...]] = {
    "width": (0.75, 1.25, 1.5),
    "depth": (-1, 1),
    "lanes": (0.5, 2),
    "unroll": (0.67, 2),
    "rate": (0.5, 2),
    "matrix_rate": (0.4, 0.67, 1.5),
    "weight_decay": (0.5, 0.7, 1.4, 2),
    "dropout": (0.1,),
    "hold": (0.2,),
    "average": (0, 0.5, 2),
    "forget_every": (0, 300),
    "optimizer": ("adamw",),
}
"""What a sweep tries, one knob at a time: factors of the recipe's value, layers more or fewer, or plain values."""
FACTORS = ("width", "lanes", "unroll", "rate", "matrix_rate", "weight_decay", "average")
AS_FAST = ("rate", "matrix_rate", "weight_decay", "hold", "average", "forget_every")
"""Knobs that leave the time of a step as it is: what they change has as many steps as the recipe."""


def wanted(arguments: argparse.Namespace) -> Iterator[Job]:
    """Yield every combination that is asked for, to be trained by its recipe."""
    for text, family, minutes, seed in itertools.product(
        arguments.texts, arguments.families, arguments.minutes, arguments.seeds
    ):
        yield Job(text, {"minutes": minutes, "family": family, "seed": seed}, {}, not arguments.apart)


def swept(jobs: Iterable[Job], knobs: list[str], grid: list[str]) -> Iterator[Job]:
    """Yield each job, and after it the same with one knob turned, every knob in its turn, or with the grid's values."""
    values = {key: [parsed(value) for value in several.split(",")] for key, _, several in map(partitioned, grid)}
    for job in jobs:
        yield job
        if grid:
            for chosen in itertools.product(*values.values()):
                yield replace(job, changed=dict(zip(values, chosen, strict=True)))
            continue
        recipe = planned(job)
        for knob in knobs:
            for turn in KNOBS[knob]:
                if (changed := turned(recipe, knob, turn)) is not None:
                    yield replace(job, changed=changed)


def partitioned(pair: str) -> tuple[str, str, str]:
    """Return a name, `=`, and what stands behind it."""
    return pair.partition("=")


def parsed(value: str) -> object:
    """Return a number where the text is one."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def turned(recipe: dict, knob: str, turn: object) -> dict[str, object] | None:
    """Return the options that turn one knob of a recipe's row; None where that changes nothing."""
    if knob == "depth":
        depth = len(recipe["layers"].split()) + turn
        return {"layers": f"{recipe['layers'].split()[0]}*{depth}"} if depth >= 1 else None
    was = recipe[knob]
    if knob == "width":
        value: object = max(16, 16 * round(was * turn / 16))
    elif knob in FACTORS:
        value = type(was)(round(was * turn, 5))
    else:
        value = turn
    return None if value == was else {knob: value}


@functools.cache
def timed(text: str, request: str) -> dict:
    """Return how a training would go, timed on this machine: the fields of a request that fix it."""
    corpus = unrolled.read_corpus([text])
    parts = len(corpus.part("train")), len(corpus.part("valid"))
    plan = unrolled.make_plan(unrolled.Request(**json.loads(request)), corpus.vocabulary, *parts)
    stack, config = plan.model.stack, plan.training
    chosen = {key: getattr(config, key) for key in (*RECORDED, "evaluate_every", "patience", "seed")}
    layers = " ".join(map(with_options, plan.model.layers))
    return chosen | {"layers": layers, "width": stack.width, "dropout": stack.dropout}


def with_options(layer: LayerConfig) -> str:
    """Return a layer as a pattern writes it, with the options that are not its family's own."""
    own = asdict(type(layer)())
    options = ",".join(f"{name}={json.dumps(value)}" for name, value in asdict(layer).items() if value != own[name])
    return f"{family_of(layer)}({options})" if options else family_of(layer)


def planned(job: Job) -> dict:
    """Return what fixes a job's training."""
    request = {key: value for key, value in job.base.items() if not (key == "family" and "layers" in job.changed)}
    slower = {key: value for key, value in job.changed.items() if key not in AS_FAST}
    return timed(job.text, json.dumps(request | slower)) | job.changed


def done(job: Job) -> bool:
    """Say whether a job's row is among the results of today's recipes."""
    return any(
        (row["text"], row["changed"]) == (Path(job.text).name, job.changed)
        and all(row[key] == value for key, value in job.base.items())
        for row in read()
        if "until" not in row
    )


def trained(job: Job, request: dict, threads: int = 0) -> dict:
    """Train once as planned, through the public interface, and return the row."""
    if threads:
        torch.set_num_threads(threads)
    corpus = unrolled.read_corpus([job.text])
    with tempfile.TemporaryDirectory() as scratch:
        run = unrolled.train(corpus, run=Path(scratch) / "run", **request)
        row = row_of(run, corpus, Path(job.text).name, job.base, job.changed)
        return row if job.fits else {**row, "fits": False}


def work(listed: list[tuple[Job, dict]], jobs: int) -> None:
    """Train all that is listed and not yet measured, in so many processes of one thread each."""
    left = [(job, request, 1) for job, request in listed if not done(job)]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(trained, *each) for each in left]):
            keep(finished.result())


def collect(paths: list[str], minutes: float) -> None:
    """Append rows for runs that `unrolled train --minutes` made by its recipe from one text each."""
    for path in paths:
        run = unrolled.open_run(path)
        sources, options = run.config.find_sources(), run.config.options
        corpus = unrolled.read_corpus(sources, options, vocabulary=run.vocabulary)
        family = run.config.model.pattern().split()[0].partition("(")[0]
        base = {"minutes": minutes, "family": family, "seed": run.config.training.seed}
        keep(row_of(run, corpus, Path(sources[0].removeprefix("builtin:")).name, base, {}))


def row_of(run: unrolled.Run, corpus: unrolled.Corpus, text: str, base: dict, changed: dict) -> dict:
    """Return what is kept of a run: how it was trained, and what it reaches on the validation part."""
    config, stack = run.config.training, run.config.model.stack
    scores = {name: run.score(corpus, "valid", protocol=name) for name in ("carried", "reset:256")}
    return {
        "text": text,
        **base,
        "changed": changed,
        "split": list(run.config.options.split),
        "layers": run.config.model.pattern(),
        "width": stack.width,
        "dropout": stack.dropout,
        **{key: getattr(config, key) for key in RECORDED},
        "characters_read": config.steps * config.lanes * config.unroll,
        "train_characters": len(corpus.part("train")),
        "ngram_bits": round(ngram_bits(corpus), 4),
        "valid_bits_per_char": round(scores["carried"].bits_per_char, 4),
        "valid_bits_per_char_reset_256": round(scores["reset:256"].bits_per_char, 4),
    }


def keep(row: dict) -> None:
    """Print a row and append it to the results."""
    print(json.dumps(row), flush=True)
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(one) for one in [*read(), row]) + "\n]\n")


def fit() -> None:
    """Fit log(bits / n-gram's bits) to the characters that count, with an offset per family and the best `PASSES`.

    Rows that are marked not to fit only show how far off the fit is elsewhere (a list in alphabetical order tells a
    network much and an n-gram nothing); those of earlier recipes do not count at all.
    """
    recipes = [row for row in read() if not row["changed"] and "until" not in row]
    rows, others = [row for row in recipes if fits(row)], [row for row in recipes if not fits(row)]
    families = sorted({row["family"] for row in rows} - {"lstm"})
    right = log_share(rows)

    def left(passes: float, rows: list[dict]) -> np.ndarray:
        counts = [useful_characters(row["characters_read"], row["train_characters"], passes) for row in rows]
        offsets = [[float(row["family"] == family) for family in families] for row in rows]
        return np.column_stack([np.ones(len(rows)), np.log(counts), np.reshape(offsets, (len(rows), -1))])

    def solved(passes: float) -> np.ndarray:
        return np.linalg.lstsq(left(passes, rows), right, rcond=None)[0]

    def errors(passes: float) -> np.ndarray:
        return left(passes, rows) @ solved(passes) - right

    best = min((0.5 * step for step in range(1, 81)), key=lambda passes: float((errors(passes) ** 2).sum()))
    found = solved(best)
    print(
        json.dumps({"PASSES": best} | dict(zip(("constant", "read", *families), found.round(4).tolist(), strict=True)))
    )
    off = np.exp(errors(best)) - 1
    print(f"{len(rows)} runs; fit off by {np.abs(off).mean():.1%} on average, {np.abs(off).max():.1%} at most\n")
    table_of_fit(rows, off)
    if others:
        print("\nRuns that the fit was not made of:\n")
        table_of_fit(others, np.exp(left(best, others) @ found - log_share(others)) - 1)


def fits(row: dict) -> bool:
    """Say whether a row may be part of the fit."""
    return row.get("fits", True)


def log_share(rows: list[dict]) -> np.ndarray:
    """Return how many of the n-gram's bits each run still needs, in logarithms."""
    return np.log([row["valid_bits_per_char"] / row["ngram_bits"] for row in rows])


def table_of_fit(rows: list[dict], off: np.ndarray) -> None:
    """Print what was expected of each run, relative to what came out."""
    print("| text | family | minutes | model | read | passes | 9-gram | valid | fit |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row, error in zip(rows, off, strict=True):
        print(
            f"| {row['text']} | {row['family']} | {row['minutes']:g} | {row['layers']}, width {row['width']} | "
            f"{row['characters_read'] / 1e6:.1f} M | {row['characters_read'] / row['train_characters']:.1f} | "
            f"{row['ngram_bits']:.3f} | {row['valid_bits_per_char']:.3f} | {error:+.1%} |"
        )


def table() -> None:
    """Print, for every text, budget and family, the recipe and what each turned knob changed.

    Rows measured with recipes of before are marked `until` what changed them, and have a table of their own.
    """
    rounds: dict[str, list[dict]] = {row.get("until", ""): [] for row in read()}
    for row in read():
        rounds[row.get("until", "")].append(row)
    for until, rows in sorted(rounds.items()):
        print(f"\nBefore {until}:\n" if until else "")
        table_of(rows)


def table_of(rows: list[dict]) -> None:
    """Print the table of one round."""
    print("| text | family | minutes | seed | turned | characters | carried | reset:256 | against the recipe |")
    print("|---|---|---|---|---|---|---|---|---|")
    place = lambda row: (row["text"], row["family"], row["minutes"], row["seed"])  # noqa: E731
    recipes = {place(row): row for row in rows if not row["changed"]}
    for row in sorted(rows, key=lambda row: (*place(row)[:3], row["seed"], row["valid_bits_per_char_reset_256"])):
        changed = " ".join(f"{key} {value}" for key, value in row["changed"].items()) or "(the recipe)"
        recipe = recipes.get(place(row))
        off = row["valid_bits_per_char"] - recipe["valid_bits_per_char"] if recipe else None
        against = "" if off is None else f"{off:+.3f}"
        print(
            f"| {row['text']} | {row['family']} | {row['minutes']:g} | {row['seed']} | {changed} | "
            f"{row['characters_read'] / 1e6:.1f} M | {row['valid_bits_per_char']:.3f} | "
            f"{row['valid_bits_per_char_reset_256']:.3f} | {against} |"
        )


def read() -> list[dict]:
    """Return the rows measured so far."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def main(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if arguments.verb == "collect":
        collect(arguments.paths, arguments.minutes)
    elif arguments.verb == "work":
        listed = json.loads(arguments.list.read_text())
        work([(Job(**job), request) for job, request in listed], arguments.jobs)
    elif arguments.verb in ("measure", "sweep"):
        plan_or_train(arguments)
    else:
        {"fit": fit, "table": table}[arguments.verb]()


def plan_or_train(arguments: argparse.Namespace) -> None:
    """Train all that `measure` or `sweep` ask for, or with `--later` only time it and list it."""
    jobs = wanted(arguments)
    if arguments.verb == "sweep":
        jobs = swept(jobs, arguments.knobs, arguments.grid)
    found = [] if arguments.later is None or not arguments.later.exists() else json.loads(arguments.later.read_text())
    for job in jobs:
        if done(job) or asdict(job) in (listed for listed, _ in found):
            continue
        if arguments.later is None:
            keep(trained(job, planned(job)))
        else:
            found.append((asdict(job), planned(job)))
            arguments.later.write_text(json.dumps(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("measure", "sweep"):
        training = verbs.add_parser(verb)
        training.add_argument("texts", nargs="+")
        training.add_argument("--minutes", nargs="+", type=float, default=[0.5, 1.0, 3.0])
        training.add_argument("--families", nargs="+", default=["lstm"])
        training.add_argument("--seeds", nargs="+", type=int, default=[1])
        training.add_argument("--later", type=Path, metavar="LIST")
        training.add_argument("--apart", action="store_true")
        if verb == "sweep":
            training.add_argument("--knobs", nargs="+", choices=list(KNOBS), default=list(KNOBS))
            training.add_argument("--grid", nargs="+", default=[], metavar="KNOB=VALUE,...")
    working = verbs.add_parser("work")
    working.add_argument("list", type=Path)
    working.add_argument("--jobs", type=int, default=1)
    collecting = verbs.add_parser("collect")
    collecting.add_argument("paths", nargs="+", metavar="RUN")
    collecting.add_argument("--minutes", type=float, required=True)
    verbs.add_parser("fit")
    verbs.add_parser("table")
    main(parser.parse_args())
