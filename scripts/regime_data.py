"""Write example data for the five regimes of docs/regimes.md, made from the built-in texts: `regime_data.py FOLDER`.

Knows nothing about models: it writes lines of `source TAB target`.
"""

import argparse
import random
import re
from collections.abc import Callable
from pathlib import Path

from unrolled.text.builtin import documents
from unrolled.text.pairs import TAB, UNASKED

LINES = 6000
_WORD = re.compile(r"[a-z]{3,10}")
_SENTENCE = re.compile(r"[A-Z][A-Za-z' ,;-]{20,60}")


def one_to_one(random_: random.Random) -> list[tuple[str, str]]:
    """A symbol, and the one that follows it in the alphabet: nothing needs to be remembered."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [(letters[k], letters[(k + 1) % 26]) for k in (random_.randrange(26) for _ in range(LINES // 10))]


def one_to_many(random_: random.Random) -> list[tuple[str, str]]:
    """Nothing, and a word of the manual: the model writes words, each as often as it should."""
    return [("", word) for word in random_.choices(_words("manual"), k=LINES)]


def many_to_one(random_: random.Random) -> list[tuple[str, str]]:
    """A line, and whether it is `prose` (the manual) or `code` (the standard library)."""
    return [
        (line, kind)
        for kind, name in (("prose", "manual"), ("code", "python"))
        for line in random_.sample(_lines(name), LINES // 2)
    ]


def many_to_many(random_: random.Random) -> list[tuple[str, str]]:
    """A word, and the word backwards: writing begins when all is read."""
    words = sorted(set(_words("python")) | set(_words("manual")))
    return [(word, word[::-1]) for word in random_.sample(words, min(LINES, len(words)))]


def tags(random_: random.Random) -> list[tuple[str, str]]:
    """A sentence in small letters, and under each letter whether it was a capital: U or l, nothing asked elsewhere."""
    found = sorted({match[0].rstrip() for text in _texts("manual") for match in _SENTENCE.finditer(text)})
    chosen = random_.sample(found, min(LINES, len(found)))
    return [(one.lower(), "".join(_case(character) for character in one)) for one in chosen]


REGIMES: dict[str, Callable[[random.Random], list[tuple[str, str]]]] = {
    "one-to-one": one_to_one,
    "one-to-many": one_to_many,
    "many-to-one": many_to_one,
    "many-to-many": many_to_many,
    "tags": tags,
}


def write_all(folder: Path, seed: int = 1) -> list[Path]:
    """Write one file for each regime into a folder and return their paths; the same seed writes the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, make in REGIMES.items():
        path = folder / f"{name}.tsv"
        lines = make(random.Random(f"{name} {seed}"))
        text = "".join(f"{source}{TAB}{target}\n" for source, target in lines)
        path.write_text(text, encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def _texts(name: str) -> list[str]:
    return [text for _, text in documents(name)]


def _words(name: str) -> list[str]:
    return [word for text in _texts(name) for word in _WORD.findall(text)]


def _lines(name: str) -> list[str]:
    found = {" ".join(line.split()) for text in _texts(name) for line in text.split("\n")}
    return sorted(line for line in found if 20 <= len(line) <= 72)


def _case(character: str) -> str:
    return UNASKED if not character.isalpha() else "U" if character.isupper() else "l"


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for path in write_all(arguments.folder, arguments.seed):
        count = path.read_bytes().count(b"\n")
        print(f"{path}  {count:,} lines")


if __name__ == "__main__":
    main()
