"""Search runs and write what was found as a table and JSON: `python scripts/neurons_page.py OUT.json RUN...`.

Every run is searched on the validation and test parts of its own text, proved (unless `--no-proof`), and scored over
training; without a RUN the table is printed again.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import unrolled
from unrolled.inspection import Inspection, Listening

HEAD = """# What is inside

```sh
unrolled train war_and_peace.txt --split 0.8,0.1,0.1 --minutes 15 --seed 1 --run wp-15     # --minutes 3: wp-3
unrolled train war_and_peace.txt --split 0.8,0.1,0.1 --minutes 15 --unroll 128 --seed 1 --run wp-15-128
unrolled train war_and_peace.txt --split 0.8,0.1,0.1 --minutes 20 --seed 1 --run wp-20
unrolled train python --minutes 3 --seed 1 --run python-3
unrolled train war_and_peace.txt --split 0.8,0.1,0.1 --family F --params 1M --chars 3M --seed 1 --run eq-F
unrolled demo --run manual
python scripts/neurons_page.py docs/results/neurons.json RUN... > docs/results/neurons.md
```

Two cores of an AMD EPYC with AVX-512 BF16, torch 2.13.0. The first 400,000 characters of the validation and test
parts (or all there are): found on the first half, judged on the second. "Score" is the AUC, for numbers the rank
correlation. "Without it": nats per character with the unit held at its mean, where the feature is decided / elsewhere
/ the worst of 8 random units there; then how often the deciding character is written per thousand with the unit held
on / untouched / held off, 200 passages of 200 characters. "Born" is between which kept steps it came to follow its
feature. Bits per character are the best look at the head of the validation part. "None" says why the best unit is not
reported. Everything else that was found, and all numbers, are in [neurons.json](neurons.json). Runs eq-F were searched
without proof. Seconds are context: two searches ran side by side on one thread each, and other work beside the
training of eq-F and python-3, which therefore made fewer steps than three minutes allow.

A million characters (another text, so that all of them are unseen) through two layers of 512 (6,144 units), searched
against five untrained copies, took 106 s, reading and start included:
`unrolled neurons wp-20 tinyshakespeare.txt --characters 1M --no-proof`.

The page's engine writes 11,422 characters a second with the weights of `manual` (two layers of 256), 11,121 with every
unit watched, and 1,681 where WebAssembly is forbidden; in Node, one core, the medians of five turns:
`node tests/engine/speed.mjs MODEL` with the run's model in MODEL.json and its weights in MODEL.safetensors (float16).

What was asked for: with 15 minutes a unit with an AUC of 0.99 for "inside double quotes" and one with a rank
correlation of 0.98 for the position in the line, both found untold and proved by ablation and by clamping; with 3
minutes one of them above 0.95.

- After 3 minutes there is a quote unit of 0.996, proved both ways.
- After 15 minutes there is one of 0.998. Without it closing quotes cost more than without any random unit, but held on
  or off the network writes as many quotes, because others do the same work: the next two (0.989 and 0.947) are proved
  both ways. With 128 characters of backpropagation the best quote unit (0.997) is proved both ways itself.
- The line is missed after 15 minutes: 0.856 with the recipe's 64 characters of backpropagation (proved both ways),
  0.966 with 128 (clamping shows it; in its ablation one random unit costs more), though both have a unit for "the
  line is nearly full" at 0.989 and 0.997. A line is 70 characters long: gradients that flow through 64 at most do
  not see its beginning from its end.
- After 20 minutes, for which the recipe takes 512 units and 96 characters, one cell follows the position in the line
  at 0.9998, and another the quotations at 0.995, both proved both ways.
"""
SHOWN = ("inside-double-quotes", "position-in-line", "line-nearly-full", "next-is-newline", "capitalised-word")
SHOWN += ("inside-parentheses", "inside-hash-comment", "inside-string-literal", "inside-docstring", "indentation")
SHOWN += ("bracket-depth", "inside-def-line")


def look(path: str, proof: bool) -> dict:
    """Return what is inside one run."""
    run = unrolled.open_run(path)
    corpus = unrolled.read_corpus(run.config.find_sources(), run.config.options, vocabulary=run.vocabulary)
    begun = time.perf_counter()
    stages: list[tuple[str, float]] = []
    told = Listening(stage=lambda name: stages.append((name, round(time.perf_counter() - begun, 1))))
    found = unrolled.inspect(run, unrolled.unseen(run, corpus), proof=proof, listening=told)
    searched = time.perf_counter() - begun
    born = unrolled.birth_certificates(found)
    metrics = unrolled.RunFolder.open(path).metrics()
    seconds = {one["step"]: one["seconds"] for one in metrics}
    cards = []
    for one in found.search.findings:
        birth = born.births[one.unit, one.feature]
        cards.append({**one.to_json(), "birth": birth.points, "born": birth.sentence(seconds)})
    bits = [one["valid_bits_per_char"] for one in metrics if one.get("valid_bits_per_char") is not None]
    return {
        "run": Path(path).name,
        "model": run.config.description,
        "parameters": run.config.parameters,
        "seconds_of_training": metrics[-1]["seconds"],
        "steps": metrics[-1]["step"],
        "valid_bits_per_char": min(bits),
        "search": {name: getattr(found.search, name) for name in ("units", "discovery", "confirmation", "shifts")},
        "stages": stages,
        "seconds_of_search_and_proof": round(searched, 1),
        "findings": cards,
        "features": best_of_each(found),
    }


def best_of_each(found: Inspection) -> dict[str, dict]:
    """Return every feature's best unit, whether it holds or not."""
    best: dict[str, dict] = {}
    for one in found.search.candidates:
        if one.feature not in best or (one.holds, one.score) > (best[one.feature]["holds"], best[one.feature]["score"]):
            names = ("unit", "score", "interval", "probe_score", "untrained_score", "character_score", "gain", "holds")
            best[one.feature] = {**{name: getattr(one, name) for name in names}, "against": list(one.against)}
    return best


def table(runs: list[dict]) -> str:
    """Return the findings as Markdown: for each feature the best unit of each run, its probe, its untrained copies."""
    lines = []
    for feature in SHOWN:
        rows = [(run, run["features"][feature]) for run in runs if feature in run["features"]]
        if not rows:
            continue
        lines += [
            f"\n### {feature}\n",
            "| run | unit | score (95 %) | probe | untrained | character | without it | born |",
        ]
        lines.append("|---|---|---|---|---|---|---|---|")
        for run, best in rows:
            card = next(
                (one for one in run["findings"] if (one["feature"], one["unit"]) == (feature, best["unit"])), None
            )
            low, high = best["interval"]
            unit = f"`{best['unit']}`" if best["holds"] else f"none ({'; '.join(best['against'])})"
            effect = ""
            if card and card["ablation"]:
                told = card["ablation"]
                effect = f"{told['matters']:+.2f} / {told['elsewhere']:+.3f} / {told['random_matters']:+.2f}"
                effect += ", proved" if told["proved"] else ""
            if card and card["clamp"]:
                told = card["clamp"]
                effect += f"; {told['on']:.1f} / {told['untouched']:.1f} / {told['off']:.1f}"
            born = card["born"].removeprefix(best["unit"]).removeprefix(":").strip() if card else ""
            lines.append(
                f"| {run['run']} | {unit} | {best['score']:.3f} ({low:.3f} to {high:.3f}) | {best['probe_score']:.3f}"
                f" | {best['untrained_score']:.3f} | {best['character_score']:.3f} | {effect} | {born} |"
            )
    head = ["| run | model | training | bits per character | units | findings | search and proof |"]
    head.append("|---|---|---|---|---|---|---|")
    head += [
        f"| {run['run']} | {run['model']} | {run['seconds_of_training']:.0f} s, {run['steps']:,} steps"
        f" | {run['valid_bits_per_char']:.3f} | {run['search']['units']:,} | {len(run['findings'])}"
        f" | {run['seconds_of_search_and_proof']:.0f} s |"
        for run in runs
    ]
    return "\n".join([HEAD, *head, *lines])


def rounded(value: Any) -> Any:
    """Return a JSON value with floats of five digits: more are noise."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main(out: str, *paths: str, proof: bool = True) -> None:
    """Search the runs that are not in the file yet, and print the table of all."""
    file = Path(out)
    runs = json.loads(file.read_text()) if file.exists() else []
    for path in paths:
        if Path(path).name not in [run["run"] for run in runs]:
            print(f"{path} ...", file=sys.stderr, flush=True)
            runs.append(look(path, proof))
            file.write_text(json.dumps(rounded(runs)) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main(*(one for one in sys.argv[1:] if one != "--no-proof"), proof="--no-proof" not in sys.argv)
