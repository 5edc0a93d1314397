"""Tasks that a finite automaton can do: parity, even pairs, cycle navigation, modular arithmetic.

The definitions are those of Deletang et al. 2023, "Neural networks and the Chomsky hierarchy", arXiv 2207.02098,
appendix A.1. Knows nothing about models or machines.
"""

import random

from unrolled.programs.tasks_common import Task, constant

MODULUS = 5
MOVES = {"<": -1, ".": 0, ">": 1}


def parity(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw bits; the answer is 1 when the number of ones is odd.

    >>> parity(random.Random(1), 6)
    ('011000', '0')
    """
    bits = "".join(draws.choices("01", k=length))
    return bits, str(bits.count("1") % 2)


def even_pairs(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw letters a and b; the answer is 1 when `ab` and `ba` together occur an even number of times.

    That is so when the first letter is the last one.

    >>> even_pairs(random.Random(1), 6)
    ('abbaaa', '1')
    """
    letters = "".join(draws.choices("ab", k=length))
    return letters, str(int((letters.count("ab") + letters.count("ba")) % 2 == 0))


def cycle_navigation(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw steps on a circle of five places; the answer is the place, 0 to 4, on which a walk from 0 ends.

    `>` is a step forwards, `<` one backwards, and `.` stays.

    >>> cycle_navigation(random.Random(3), 6)
    ('<....<', '3')
    """
    steps = "".join(draws.choices("<.>", k=length))
    return steps, str((steps.count(">") - steps.count("<")) % MODULUS)


def modular_arithmetic(draws: random.Random, length: int) -> tuple[str, str]:
    """Draw digits 0 to 4 with + - * between them; the answer is the value modulo 5, computed from left to right.

    No operator goes before another, as in a pocket calculator: (((a op b) op c) op d) ...

    >>> modular_arithmetic(random.Random(2), 7)
    ('4*4*0*0', '0')
    """
    digits = draws.choices("01234", k=(length + 1) // 2)
    operators = draws.choices("+-*", k=length // 2)
    value = int(digits[0])
    for operator, digit in zip(operators, digits[1:], strict=True):
        number = int(digit)
        value = value + number if operator == "+" else value - number if operator == "-" else value * number
        value %= MODULUS
    source = "".join(part for pair in zip(digits, [*operators, ""], strict=True) for part in pair)
    return source, str(value)


def modular_chance(length: int) -> float:
    """Return how often the commonest value comes, 0: a product with 0 is 0, and the other values are equally likely.

    If p is the probability of 0 before a step, + and - leave 1/5, and * gives p + (1 - p)/5.
    """
    zero = 1 / MODULUS
    for _ in range(length // 2):
        zero = 2 / 3 / MODULUS + (zero + (1 - zero) / MODULUS) / 3
    return zero


REGULAR = (
    Task(
        name="parity",
        description="is the number of ones odd?",
        level="regular",
        alphabet="01",
        answers="01",
        draw=parity,
        chance=constant(1 / 2),
    ),
    Task(
        name="even-pairs",
        description="do ab and ba occur an even number of times together?",
        level="regular",
        alphabet="ab",
        answers="01",
        draw=even_pairs,
        # A single letter has no pairs.
        chance=lambda length: 1.0 if length == 1 else 1 / 2,
    ),
    Task(
        name="cycle-navigation",
        description="where on a circle of five places does a walk end?",
        level="regular",
        alphabet="<.>",
        answers="01234",
        draw=cycle_navigation,
        chance=lambda length: max(walk_ends(length)),
    ),
    Task(
        name="modular-arithmetic",
        description="what is 3-2*4... modulo 5, from left to right?",
        level="regular",
        alphabet="01234+-*",
        answers="01234",
        draw=modular_arithmetic,
        chance=modular_chance,
        has_length=lambda length: length % 2 == 1,
    ),
)


def walk_ends(length: int) -> list[float]:
    """Return the probability of each place after so many random steps on the circle."""
    places = [1.0, *[0.0] * (MODULUS - 1)]
    for _ in range(length):
        places = [sum(places[(place - move) % MODULUS] for move in MOVES.values()) / 3 for place in range(MODULUS)]
    return places
