"""Tasks of storage alone: copy memory, selective copy, the adding problem, associative recall of many queries.

Copy memory and adding: Hochreiter and Schmidhuber 1997; as in Arjovsky et al. 2016, arXiv 1511.06464, and Bai et al.
2018, arXiv 1803.01271. Selective copy: Gu and Dao 2023, arXiv 2312.00752. MQAR: Arora et al. 2023, arXiv 2312.04927.
Knows nothing about models.
"""

import math
import random
from types import MappingProxyType

from unrolled.programs.tasks_common import UNASKED, Measure, Task, constant

SYMBOLS, COPIED, BLANK = "abcdefgh", 10, "."
HUNDRED = 100
PLAIN = "".join(chr(0x2801 + value) for value in range(HUNDRED))
"""The values 0.00 to 0.99 that are not marked: Braille patterns."""
MARKED = "".join(chr(0x1401 + value) for value in range(HUNDRED))
"""The same values, marked: Canadian syllabics, as the sums are."""
SUMS = "".join(chr(0x1501 + value) for value in range(2 * HUNDRED - 1))
"""The sums 0.00 to 1.98."""
WITHIN = 0.04
"""An error below this counts as right: Hochreiter and Schmidhuber 1997, section 5.4."""
KEYS, VALUES = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
STORED = 4
_RECALL_TRAINED, _RECALL_LONGEST = 64, 256


def copy_memory(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw ten of eight symbols and then `length` blanks; the answer is the ten symbols.

    >>> copy_memory(random.Random(1), 5)
    ('bggcddfgaa.....', 'bggcddfgaa')
    """
    kept = "".join(draws.choices(SYMBOLS, k=COPIED))
    return kept + BLANK * length, kept


def selective_copy(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw ten of eight symbols in order, scattered among `length` blanks; the answer is the ten symbols.

    >>> selective_copy(random.Random(1), 5)
    ('b..gg.cddfg..aa', 'bggcddfgaa')
    """
    kept = "".join(draws.choices(SYMBOLS, k=COPIED))
    written = [BLANK] * (COPIED + length)
    for place, symbol in zip(sorted(draws.sample(range(COPIED + length), COPIED)), kept, strict=True):
        written[place] = symbol
    return "".join(written), kept


def adding(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw values of 0.00 to 0.99, one marked in the first half and one in the second; the answer is their sum.

    >>> source, target = adding(random.Random(1), 4)
    >>> [round(VALUE_OF[symbol], 2) for symbol in source], [symbol in MARKED for symbol in source]
    ([0.13, 0.84, 0.76, 0.25], [False, True, False, True])
    >>> SUM_OF[target]
    1.09
    """
    values = [int(draws.random() * HUNDRED) for _ in range(length)]
    one, other = draws.randrange(length // 2), draws.randrange(length // 2, length)
    source = "".join((MARKED if place in (one, other) else PLAIN)[value] for place, value in enumerate(values))
    return source, SUMS[values[one] + values[other]]


VALUE_OF = MappingProxyType({symbol: place / HUNDRED for row in (PLAIN, MARKED) for place, symbol in enumerate(row)})
"""What the symbols of a source of `adding` stand for."""
SUM_OF = MappingProxyType({symbol: place / HUNDRED for place, symbol in enumerate(SUMS)})
"""What the answers of `adding` stand for."""


def adding_chance(length: int) -> float:  # noqa: ARG001
    """Return how often a sum is within 0.04 of the best single answer, its mean 0.99."""
    ways = sum(HUNDRED - abs(away) for away in range(-HUNDRED, HUNDRED + 1) if abs(away) / HUNDRED < WITHIN - 1e-9)
    return ways / HUNDRED**2


ADDING_VARIANCE = 2 * (HUNDRED**2 - 1) / 12 / HUNDRED**2
"""The squared error of that answer: 0.16665, twice the variance of a value. 1/6 for values that are not rounded."""


def mqar(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw four keys, each followed by its value, and then blanks among which each key comes once more.

    Asked is only the value of a key that comes again. As published, keys come again soon more often than late: a place
    x is 1/x^0.99 times as likely as the first.

    >>> mqar(random.Random(1), 14)
    ('eCsIzDyPzs.ey.', '········DI·CP·')
    """
    keys, values = draws.sample(KEYS, STORED), draws.sample(VALUES, STORED)
    head = "".join(key + value for key, value in zip(keys, values, strict=True))
    room = length - len(head)
    weights = [x**-0.99 for x in range(1, room + 1)]
    places: list[int] = []
    while len(places) < STORED:
        (place,) = draws.choices(range(room), weights)
        if place not in places:
            places.append(place)
    source, tags = [BLANK] * room, [UNASKED] * room
    for place, key, value in zip(places, keys, values, strict=True):
        source[place], tags[place] = key, value
    return head + "".join(source), UNASKED * len(head) + "".join(tags)


MEMORY = (
    Task(
        name="copy-memory",
        description="ten symbols, many blanks: which ten symbols?",
        level="memory",
        alphabet=SYMBOLS + BLANK,
        answers=SYMBOLS,
        draw=copy_memory,
        chance=constant(1 / len(SYMBOLS)),
        length_is="blanks after the ten symbols",
        measure=Measure("nats per step", lambda length: COPIED * math.log(len(SYMBOLS)) / (length + 2 * COPIED)),
    ),
    Task(
        name="selective-copy",
        description="ten symbols scattered among blanks: which ten symbols?",
        level="memory",
        alphabet=SYMBOLS + BLANK,
        answers=SYMBOLS,
        draw=selective_copy,
        chance=constant(1 / len(SYMBOLS)),
        length_is="blanks among the ten symbols",
    ),
    Task(
        name="adding",
        description="add the two numbers that are marked",
        level="memory",
        alphabet=PLAIN + MARKED,
        answers=SUMS,
        draw=adding,
        chance=adding_chance,
        has_length=lambda length: length >= 2,
        length_is="numbers",
        values=SUM_OF,
        within=WITHIN,
        measure=Measure("squared error", constant(ADDING_VARIANCE)),
    ),
    Task(
        name="mqar",
        description="four keys with values: when a key comes again, what was its value?",
        regime="tags",
        level="memory",
        alphabet=KEYS + VALUES + BLANK,
        answers=VALUES,
        draw=mqar,
        chance=constant(1 / len(VALUES)),
        has_length=lambda length: length >= 4 * STORED,
        trained=_RECALL_TRAINED,
        longest=_RECALL_LONGEST,
        headline="trained",
    ),
)
