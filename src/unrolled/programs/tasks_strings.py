"""Tasks that need counters, a stack or more: counting languages, brackets, and strings turned round, doubled, sorted.

Reverse, duplicate, odds first, binary addition and bucket sort are those of Deletang et al. 2023, arXiv 2207.02098,
appendix A.1. The languages a^n b^n, a^n b^n c^n and Dyck are asked by membership (Weiss et al. 2018, arXiv 1805.04908):
half of the strings are members; of the others, most differ from a member in little. Knows nothing about models.
"""

import math
import random
from collections.abc import Callable
from functools import cache

from unrolled.programs.tasks_common import Task, constant

BUCKETS = "abcde"
PAIRS = {"(": ")", "[": "]"}
_SUMS_DRAWN = 500
_NEAR = 4


def a_n_b_n(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw a string; the answer is 1 when it is a^n b^n.

    >>> a_n_b_n(random.Random(3), 8)
    ('aaaabbbb', '1')
    """
    return _blocks(draws, "ab", length)


def a_n_b_n_c_n(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw a string; the answer is 1 when it is a^n b^n c^n.

    >>> a_n_b_n_c_n(random.Random(1), 9)
    ('aaabbbccc', '1')
    """
    return _blocks(draws, "abc", length)


def _blocks(draws: random.Random, letters: str, length: int) -> tuple[str, str]:
    """Draw equally long blocks, or else: other lengths in the right order (two times in three), one letter changed."""
    each = length // len(letters)
    member = "".join(letter * each for letter in letters)
    if draws.random() < 1 / 2:
        return member, "1"
    found = member
    while found == member:
        if draws.random() < 2 / 3:
            counts = [max(0, each + draws.randint(-_NEAR, _NEAR)) for _ in letters[1:]]
            counts.append(length - sum(counts))
            if counts[-1] >= 0:
                found = "".join(letter * count for letter, count in zip(letters, counts, strict=True))
        else:
            place = draws.randrange(length)
            found = found[:place] + draws.choice(letters) + found[place + 1 :]
    return found, "0"


def dyck_1(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw round brackets; the answer is 1 when they are balanced.

    >>> dyck_1(random.Random(2), 8)
    ('())((())', '0')
    """
    return _brackets(draws, "(", length)


def dyck_2(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw brackets of two kinds; the answer is 1 when they are balanced.

    >>> dyck_2(random.Random(2), 8)
    ('()([[]][', '0')
    """
    return _brackets(draws, "([", length)


def _brackets(draws: random.Random, kinds: str, length: int) -> tuple[str, str]:
    """Draw a balanced string, each one as likely as any other, or one with two brackets exchanged or one replaced."""
    member = balanced_string(draws, kinds, length)
    if draws.random() < 1 / 2:
        return member, "1"
    symbols = "".join(kind + PAIRS[kind] for kind in kinds)
    while True:
        found = list(member)
        if draws.random() < 1 / 2:
            one, other = draws.randrange(length), draws.randrange(length)
            found[one], found[other] = found[other], found[one]
        else:
            found[draws.randrange(length)] = draws.choice(symbols)
        if not is_balanced("".join(found)):
            return "".join(found), "0"


def balanced_string(draws: random.Random, kinds: str, length: int) -> str:
    """Return a balanced string, uniformly drawn: the one rotation of n openings and n + 1 closings that fits.

    The cycle lemma: Dvoretzky and Motzkin 1947.
    """
    steps = [1] * (length // 2) + [-1] * (length // 2 + 1)
    draws.shuffle(steps)
    height = lowest = after = 0
    for place, step in enumerate(steps):
        height += step
        if height < lowest:
            lowest, after = height, place + 1
    rotated = (steps[after:] + steps[:after])[:-1]
    opened: list[str] = []
    written = []
    for step in rotated:
        if step == 1:
            opened.append(draws.choice(kinds))
            written.append(opened[-1])
        else:
            written.append(PAIRS[opened.pop()])
    return "".join(written)


def is_balanced(text: str) -> bool:
    """Say whether every bracket of a string is closed by one of its kind, and every closing one was opened."""
    opened: list[str] = []
    for symbol in text:
        if symbol in PAIRS:
            opened.append(symbol)
        elif not opened or PAIRS[opened.pop()] != symbol:
            return False
    return not opened


def reverse(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw letters; the answer is the string read backwards.

    >>> reverse(random.Random(1), 6)
    ('abbaaa', 'aaabba')
    """
    letters = "".join(draws.choices("ab", k=length))
    return letters, letters[::-1]


def duplicate(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw letters; the answer is the string twice.

    >>> duplicate(random.Random(1), 6)
    ('abbaaa', 'abbaaaabbaaa')
    """
    letters = "".join(draws.choices("ab", k=length))
    return letters, letters * 2


def odds_first(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw letters; the answer is the first, third, fifth, ... of them, then the second, fourth, ...

    >>> odds_first(random.Random(1), 6)
    ('abbaaa', 'ababaa')
    """
    letters = "".join(draws.choices("ab", k=length))
    return letters, letters[::2] + letters[1::2]


def binary_addition(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw two binary numbers with + between them, lowest bit first; the answer is their sum, written likewise.

    The sum has no superfluous zeros: its last bit is 1, unless it is 0.

    >>> binary_addition(random.Random(1), 8)
    ('11+00100', '111')
    """
    first = draws.randint(1, length - 2)
    one, other = "".join(draws.choices("01", k=first)), "".join(draws.choices("01", k=length - 1 - first))
    return f"{one}+{other}", f"{int(one[::-1], 2) + int(other[::-1], 2):b}"[::-1]


@cache
def addition_chance(length: int) -> float:
    """Return the share of ones in a sum, a sum's last bit being 1: that of 500 sums, always the same ones."""
    draws = random.Random(length)
    sums = [binary_addition(draws, length)[1] for _ in range(_SUMS_DRAWN)]
    return math.fsum(found.count("1") / len(found) for found in sums) / len(sums)


def bucket_sort(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw letters a to e; the answer is the string sorted.

    >>> bucket_sort(random.Random(1), 6)
    ('aedbcc', 'abccde')
    """
    letters = draws.choices(BUCKETS, k=length)
    return "".join(letters), "".join(sorted(letters))


@cache
def sorting_chance(length: int) -> float:
    """Return the mean probability of the likeliest letter at each place of a sorted string of random letters.

    The letter at place k is at most the s-th when more than k of all letters are: a binomial tail.
    """
    tails = [_tail(length, (s + 1) / len(BUCKETS)) for s in range(len(BUCKETS))]
    best = [max(tails[s][k] - (tails[s - 1][k] if s else 0.0) for s in range(len(BUCKETS))) for k in range(length)]
    return math.fsum(best) / length


def _tail(trials: int, share: float) -> list[float]:
    """Return, for k from 0 on, the probability that more than k of the trials succeed."""
    if share == 1:
        return [1.0] * trials
    logs = [
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(share)
        + (trials - k) * math.log1p(-share)
        for k in range(trials + 1)
    ]
    tail, found = 0.0, []
    for log in reversed(logs[1:]):
        tail += math.exp(log)
        found.append(tail)
    return found[::-1]


def _task(name: str, description: str, level: str, draw: Callable[..., tuple[str, str]], alphabet: str) -> Task:
    return Task(
        name=name,
        description=description,
        level=level,
        alphabet=alphabet,
        answers="ab",
        draw=draw,
        chance=constant(1 / 2),
    )


def _language(name: str, description: str, level: str, draw: Callable[..., tuple[str, str]], alphabet: str) -> Task:
    blocks = len(alphabet) if alphabet.isalpha() else 2
    return Task(
        name=name,
        description=description,
        level=level,
        alphabet=alphabet,
        answers="01",
        draw=draw,
        chance=constant(1 / 2),
        has_length=lambda length: length % blocks == 0,
        # Of each length there is one member of the counting languages: training must see it.
        held_out=not alphabet.isalpha(),
    )


STRINGS = (
    _language("a-n-b-n", "is it as many b after as many a?", "counting", a_n_b_n, "ab"),
    _language("a-n-b-n-c-n", "is it as many c after as many b after as many a?", "counting", a_n_b_n_c_n, "abc"),
    _language("dyck-1", "are the round brackets balanced?", "counting", dyck_1, "()"),
    _language("dyck-2", "are the brackets of two kinds balanced?", "context-free", dyck_2, "()[]"),
    _task("reverse", "write the string backwards", "context-free", reverse, "ab"),
    _task("duplicate", "write the string twice", "context-sensitive", duplicate, "ab"),
    _task("odds-first", "write every second symbol, then the others", "context-sensitive", odds_first, "ab"),
    Task(
        name="binary-addition",
        description="add two binary numbers, lowest bit first",
        level="context-sensitive",
        alphabet="01+",
        answers="01",
        draw=binary_addition,
        chance=addition_chance,
        has_length=lambda length: length >= 3,
    ),
    Task(
        name="bucket-sort",
        description="sort the letters a to e",
        level="context-sensitive",
        alphabet=BUCKETS,
        answers=BUCKETS,
        draw=bucket_sort,
        chance=sorting_chance,
    ),
)
