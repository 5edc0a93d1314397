"""Data of a page written by hand: findings, passages and training that look as the real ones do.

Knows nothing about searching: numbers are made up, the model and the text are real.
"""

from pathlib import Path

from unrolled.models import SequenceModel
from unrolled.text.vocabulary import Vocabulary

TEXT = 'He said "come here" and went.\n  She (the other) came, "slowly", as it was late.\n' * 6
HOSTILE = (
    '</script><img src=x onerror="window.hurt=1"><style>*{display:none}</style>\u202eevil\x1b[31m\u200b\x9b{{script}}'
)


def card(unit: str, feature: str = "inside-double-quotes", say: str = "", **changes: object) -> dict[str, object]:
    """One finding with everything that a page shows of it."""
    return {
        "unit": unit,
        "feature": feature,
        "description": f"inside double quotes{say}",
        "kind": "yes-no",
        "sign": 1,
        "score": 0.998,
        "interval": [0.996, 0.999],
        "discovery_score": 0.998,
        "character_score": 0.61,
        "beyond_character": 0.99,
        "untrained_score": 0.57,
        "probe_score": 0.999,
        "probe_layer": "layer0",
        "p": 0.005,
        "gain": 0.98,
        "against": [],
        "ablation": {
            "where": f"the closing quote{say}", "places": 312, "matters": 1.9, "matters_interval": [1.7, 2.1],
            "elsewhere": 0.01, "elsewhere_interval": [0.0, 0.02], "random_units": 16, "random_matters": 0.05,
            "random_matters_interval": [0.01, 0.08], "random_elsewhere": 0.02, "proved": True, "used": False,
        },
        "clamp": {
            "mark": '"', "samples": 200, "length": 400, "on_value": 0.9, "off_value": -0.9, "untouched": 3.1,
            "on": 12.0, "off": 0.2, "on_interval": [11.0, 13.0], "off_interval": [0.1, 0.3], "changed": True,
        },
        "sentence": f"{unit} is on inside double quotes{say}: AUC 0.998 (0.996 to 0.999) on text it was not chosen on.",
        "histogram": {"low": -1.0, "high": 1.0, "on": [0] * 20 + [5] * 20, "off": [9] * 20 + [0] * 20},
        "strongest": [{"text": f'a "b{say}" c', "values": [-1, -0.5, 1, 1, 1, -1, -1], "at": 7}],
        "counter": [{"text": f"d{say}", "values": [0.5], "at": 99}],
        "birth": [{"step": 0, "score": 0.52}, {"step": 100, "score": 0.9}, {"step": 200, "score": 0.998}],
        **changes,
    }  # fmt: skip


def number_card(unit: str) -> dict[str, object]:
    """A finding about a number."""
    tenths = {"low": 0.0, "high": 1.0, "labels": [[i, i + 1] for i in range(10)], "bins": [i / 10 for i in range(10)],
              "quartiles": [[i / 10 - 0.05, i / 10 + 0.05] for i in range(10)]}  # fmt: skip
    says = {"description": "position in the line", "sentence": f"{unit} grows with the position in the line."}
    found = card(unit, "position-in-line", kind="number", histogram=tenths, **says)
    found["clamp"]["mark"] = "\n"
    return found


def page_data(model: SequenceModel, config: object, vocabulary: Vocabulary, say: str = "") -> dict[str, object]:
    """What a page is told; `say` is added to every string that a text, a model or a person could have chosen."""
    (group, *others) = model.units
    (first, second) = f"{group}[1]", f"{(others or [group])[-1]}[2]"
    names = ("name", "description", "kind", "unit", "score", "holds", "against")
    features = [
        ("inside-double-quotes", f"inside double quotes{say}", "yes-no", first, 0.998, True, []),
        ("position-in-line", f"position in the line{say}", "number", second, 0.97, True, []),
        (f"digit{say}", f"a digit{say}", "yes-no", first, 0.7, False, [f"too few{say}"]),
    ]
    rest = {"character_score": 0.6, "untrained_score": 0.55, "probe_score": 0.999}
    facts = {
        "family": "lstm", "description": f"lstm{say}", "parameters": 12345, "text": f"book.txt{say}",
        "bits_per_char": 1.53, "protocol": f"carried{say}", "scored": "unseen text", "seconds": 118.0, "steps": 200,
        "version": f"0.1{say}", "command": f"unrolled train book.txt{say}",
    }  # fmt: skip
    return {
        "format": 1,
        "title": f"tiny{say}",
        "facts": facts,
        "model": config,
        "vocabulary": vocabulary.to_json(),
        "run": {},
        "passage": {"text": TEXT + say, "where": f"the test part{say}"},
        "units": dict(model.units),
        "cards": [card(first, say=say), number_card(second)],
        "none": "",
        "features": [dict(zip(names, one, strict=True)) | rest for one in features],
        "skipped": {f"url{say}": f"no places{say}"},
        "saturation": {group: {"left": [0.1, 0.9, 0.0], "right": [0.2, 0.0, 1.0]}},
        "training": [
            {"step": step, "seconds": step / 2, "valid_bits_per_char": 6.0 - step / 50, "train_bits_per_char": None,
             "sample": f"wrote at {step}{say}", "structure": {"words": step / 200, "python": None, f"new{say}": 1.5}}
            for step in (0, 100, 200)
        ],
        "search": {"characters": 9000, "discovery": 4000, "gap": 1000, "confirmation": 4000, "units": 64, "shifts": 200,
                   "untrained_copies": 4},
    }  # fmt: skip


def write(path: Path, html: str) -> str:
    """Write a page; return the address under which a browser opens it."""
    path.write_text(html, encoding="utf-8")
    return path.as_uri()
