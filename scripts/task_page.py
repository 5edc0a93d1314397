"""Write docs/results/tasks.md, tasks.json and a heat map each from tables and extracted automata.

unrolled task table ... --out TABLE      # any number of tables
unrolled task extract RUN --json > FOUND.json
python scripts/task_page.py TABLE... FOUND.json... FOUND.svg...
"""

import json
import shutil
import sys
from pathlib import Path

from unrolled.programs.lessons import STEPS

RESULTS = Path(__file__).parent.parent / "docs" / "results"
HEAD = """# What families learn to compute

Two cores of an AMD EPYC with AVX-512 BF16, torch 2.13.0, one thread for each table (`OMP_NUM_THREADS=1`) while other
work ran: how long a trial took says nothing. Models of width 64 with the default depth of their family
([what is measured and what solved means](../task.md)). Every trial is in [tasks.json](tasks.json); the defaults
(Muon, the rates) were chosen on parity and modular arithmetic with seed 1, and plain layers for rnn, lstm and gru on
cycle navigation with seeds 1 to 3, longer lengths looked at, so that for these the table is not blind to its tests.

In short: networks whose every step rewrites the state (rnn, lstm, gru) find all four regular programs, nearly always.
minGRU finds parity only with gates in (-1, 1), and neither kind goes round a circle of five. The transformer, the
convolutions and the window find none of the four beyond the trained lengths. The networks with a memory of their own
reverse strings, attention recalls. What training found is the compiled machine itself in the RNN; in an LSTM it may
be one that counts, and whose counter fills up.
"""


def main(*paths: str) -> None:
    """Write the page from tables (folders) and extractions (files)."""
    tables = [Path(path) for path in paths if Path(path).is_dir()]
    found = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths if path.endswith(".json")]
    lines, kept = [HEAD], {}
    for table in tables:
        trials = [json.loads(line) for line in (table / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
        kept[table.name] = {"protocol": json.loads((table / "protocol.json").read_text()), "trials": trials}
        picture = f"tasks-{table.name}.svg"
        shutil.copyfile(table / "heat.svg", RESULTS / picture)
        body = (table / "table.md").read_text(encoding="utf-8").split("\n", 2)[2]
        lines += [f"## {table.name}\n", "```sh", *commands(table.name, kept[table.name]), "```", ""]
        lines += [f"![Accuracy on longer inputs, task by family]({picture})", "", body]
    if found:
        lines += ["## Which program did training find?\n", "```sh", "unrolled task train TASK --family F --run RUN"]
        lines += ["unrolled task extract RUN --json", "```", ""]
        lines += [f"- {one['task']}, {one['layers']}: {one['verdict']} {compared(one)}" for one in found]
        lines.append("")
    for drawing in (Path(path) for path in paths if path.endswith(".svg")):
        shutil.copyfile(drawing, RESULTS / f"automaton-{drawing.name}")
        lines += [f"![The automaton that training found, beside the compiled one](automaton-{drawing.name})", ""]
    (RESULTS / "tasks.md").write_text("\n".join(lines), encoding="utf-8")
    (RESULTS / "tasks.json").write_text(json.dumps({"tables": kept, "extracted": found}, indent=1) + "\n")


def commands(name: str, table: dict) -> list[str]:
    """Return what must be typed for a table like this one: a line for all families that did the same trials."""
    protocol, trials = table["protocol"], table["trials"]
    said = {key: protocol[key] for key in ("steps", "points", "sequences") if protocol.get(key) is not None}
    options = " ".join(f"--{key} {value}" for key, value in said.items() if (key, value) != ("steps", STEPS))
    alike: dict[tuple[str, int], list[str]] = {}
    for family in dict.fromkeys(trial["family"] for trial in trials):
        mine = [trial for trial in trials if trial["family"] == family]
        tasks = ",".join(dict.fromkeys(trial["task"] for trial in mine))
        alike.setdefault((tasks, max(trial["seed"] for trial in mine)), []).append(family)
    return [
        f"unrolled task table --tasks {tasks} --families {','.join(families)} --seeds {seeds} {options} --out {name}"
        for (tasks, seeds), families in alike.items()
    ]


def compared(found: dict) -> str:
    """Return whether the automaton is the compiled machine's."""
    if found["equals_compiled"] is None:
        return ""
    if not found["equals_compiled"]:
        return f"The automaton is not the compiled machine: {found['difference']}."
    same = "The automaton is the compiled machine, state for state"
    return f"{same}; on longer sources the network departs from it." if found["disagreements"] else f"{same}."


if __name__ == "__main__":
    main(*sys.argv[1:])
