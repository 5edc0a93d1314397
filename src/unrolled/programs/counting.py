"""What a program with counters must be for an LSTM: rules, one move per token and counter, what is expected where.

Knows nothing about networks: it follows a program through all states and counts that it can reach.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from unrolled.errors import MachineError
from unrolled.programs.program import RESET, Configuration, Program
from unrolled.programs.turing import acted

UNKNOWN = "\ufffd"
"""The symbol that no vocabulary knows: it is read as a token that no step of the program names."""
MOST_COUNTERS = 2
"""So many counters one gate can ask at once whether they are empty: tanh says 0 or 0.76 to 1, which adds up."""


@dataclass(frozen=True)
class CounterRule:
    """In `state`, on one of `tokens`, where each counter in `full` is (not) empty, go to `to`."""

    state: str
    tokens: tuple[str, ...]
    full: Mapping[int, bool]
    to: str


@dataclass(frozen=True)
class CounterPlan:
    """A counter program as an LSTM needs it: rules, how each token moves each counter, what is expected where."""

    rules: tuple[CounterRule, ...]
    moves: Mapping[tuple[str, int], int]
    classes: tuple[tuple[str, Mapping[int, bool], Mapping[str, float]], ...]
    counters: int
    start: str
    leading: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many units layer 0 needs."""
        return 2 + len(self.rules) + self.counters


def plan_of(program: Program) -> CounterPlan:
    """Work out rules, moves and expectations over all states that can be reached; see `lstm_counter` for errors."""
    others = [memory.name for memory in program.memories if not memory.counter]
    if others or len(program.memories) > MOST_COUNTERS:
        raise MachineError(
            expected=f"a program with at most {MOST_COUNTERS} counters and no stack for an LSTM",
            received=f"{program.name} with {', '.join(others) or f'{len(program.memories)} counters'}",
            remedy="compile it into a circuit",
        )
    seen = _explored(program)
    rules: dict[tuple[str, tuple[tuple[int, bool], ...], str], list[str]] = {}
    looked: dict[str, set[int]] = {state: set() for state, _ in seen}
    for (state, token), cases in _by_place(seen).items():
        asked = _depends(cases)
        looked[state] |= asked
        for counts, (to, _) in cases.items():
            tests = tuple((counter, counts[counter] > 0) for counter in sorted(asked))
            tokens = rules.setdefault((state, tests, to), [])
            if token not in tokens:
                tokens.append(token)
    classes = []
    for state in dict.fromkeys(state for state, _ in seen):
        cases = {counts: _expected(program, state, counts) for at, counts in seen if at == state}
        asked = _depends({counts: (tuple(sorted(found.items())), None) for counts, found in cases.items()})
        looked[state] |= asked
        found = {tuple((c, counts[c] > 0) for c in sorted(asked)): expected for counts, expected in cases.items()}
        classes += [(state, dict(tests), expected) for tests, expected in found.items()]
    made = tuple(CounterRule(state, tuple(tokens), dict(tests), to) for (state, tests, to), tokens in rules.items())
    leading: dict[str, list[int]] = {program.states[0]: [1]}
    for unit, rule in enumerate(made, 2):
        leading.setdefault(rule.to, []).append(unit)
    moves = _moves(program, seen, looked)
    return CounterPlan(made, moves, tuple(classes), len(program.memories), program.states[0], leading)


_Counts = tuple[int, ...]
_Outcome = tuple[str, _Counts]
"""The state after a step and what it did to each counter."""
_MANY = 2


def _explored(program: Program) -> dict[tuple[str, _Counts], dict[str, _Outcome]]:
    """Return what every token but the newline does in all states and counts that can be reached.

    A count is 0, 1 or "many", and many less one is one or many.
    """
    first = (program.states[0], (0,) * len(program.memories))
    seen: dict[tuple[str, _Counts], dict[str, _Outcome]] = {}
    ahead = [first]
    while ahead:
        place = ahead.pop()
        if place in seen:
            continue
        state, counts = place
        seen[place] = {}
        for token in (*known_tokens(program), UNKNOWN):
            after = followed(program, _placed(program, state, counts), token)
            if after is None:
                continue
            change = tuple(len(now) - before for now, before in zip(after.contents, counts, strict=True))
            seen[place][token] = after.state, change
            new = [
                {1, _MANY} if (many := before + by) == 1 and before == _MANY else {min(many, _MANY)}
                for before, by in zip(counts, change, strict=True)
            ]
            ahead += [(after.state, each) for each in itertools.product(*new)]
    return seen


def _by_place(
    seen: Mapping[tuple[str, _Counts], Mapping[str, _Outcome]],
) -> dict[tuple[str, str], dict[_Counts, tuple[str, object]]]:
    """Return, for each state and token, to which state it leads under which counts."""
    places: dict[tuple[str, str], dict[_Counts, tuple[str, object]]] = {}
    for (state, counts), outcomes in seen.items():
        for token, (to, _) in outcomes.items():
            places.setdefault((state, token), {})[counts] = (to, None)
    return places


def _depends(cases: Mapping[_Counts, tuple[object, object]]) -> set[int]:
    """Return a smallest set of counters whose emptiness decides the outcome."""
    counters = len(next(iter(cases)))
    for size in range(counters):
        for chosen in itertools.combinations(range(counters), size):
            found: dict[tuple[bool, ...], object] = {}
            if all(
                found.setdefault(tuple(counts[c] > 0 for c in chosen), outcome) == outcome
                for counts, outcome in cases.items()
            ):
                return set(chosen)
    return set(range(counters))


def _moves(
    program: Program, seen: Mapping[tuple[str, _Counts], Mapping[str, _Outcome]], looked: Mapping[str, set[int]]
) -> dict[tuple[str, int], int]:
    """Return by how much each token moves each counter wherever somebody will look at it; MachineError if that varies.

    `looked` names the counters that a state's rules and expectations ask about.
    """
    matters = {state: set(counters) for state, counters in looked.items()}
    steps = {(state, to) for (state, _), outcomes in seen.items() for to, _ in outcomes.values()}
    grown = True
    while grown:
        before = sum(map(len, matters.values()))
        for state, to in steps:
            matters[state] |= matters[to]
        grown = sum(map(len, matters.values())) > before
    moves: dict[tuple[str, int], int] = {}
    for (state, _), outcomes in seen.items():
        for token, (to, change) in outcomes.items():
            for counter in matters[to]:
                by = moves.setdefault((token, counter), change[counter])
                if by != change[counter] or abs(by) > 1:
                    raise MachineError(
                        expected=f"tokens that each move {program.memories[counter].name} in one way, by one at most",
                        received=f"{program.name}, where {token!r} moves it by {change[counter]} in state {state}"
                        + (f" and by {by} in another" if by != change[counter] else ""),
                        remedy="compile it into a circuit",
                    )
    return moves


def _placed(program: Program, state: str, counts: Iterable[int]) -> Configuration:
    contents = tuple(memory.alphabet[0] * count for memory, count in zip(program.memories, counts, strict=True))
    return Configuration(state, contents, 0)


def followed(program: Program, configuration: Configuration, token: str) -> Configuration | None:
    """Return where a token leads. The unknown one is like any that no step names; None where every token is named."""
    if token == UNKNOWN and (configuration.state, None) not in program.steps_of:
        return None
    step = program.fitting(configuration, token)
    pairs = zip(step.actions, configuration.contents, strict=True)
    return Configuration(step.to, tuple(acted(action, held) for action, held in pairs), 0)


def _expected(program: Program, state: str, counts: _Counts) -> Mapping[str, float]:
    return program.expects(_placed(program, state, counts))


def known_tokens(program: Program) -> tuple[str, ...]:
    """Return every token but the newline."""
    return tuple(token for token in program.tokens if token != RESET)
