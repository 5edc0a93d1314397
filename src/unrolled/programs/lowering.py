"""From an automaton, a counter machine or a pushdown machine to a program: in real time where it can be.

Knows nothing about tapes, about circuits or about networks.
"""

from collections.abc import Iterable, Mapping

from unrolled.programs.drafting import GROWING, NO, SLIP, YES, Draft, covering, free_memory, lost, table, with_end
from unrolled.programs.faults import Tops, uncovered
from unrolled.programs.program import RESET, Program
from unrolled.programs.turing import END, Action, Machine, Memory, Rule

POP = Action(pop=True)


def lower_machine(machine: Machine) -> Program:
    """Return the program of a machine without a tape.

    A machine whose every rule reads is run in real time: a token of the input is a step, the end sign is the first
    step that reads END (when there is one), and every further one is a tick. What it writes is either said in the
    same steps (when all of it is written behind the input, a symbol each, nothing else happens in between, and what is
    said is never rejected), or kept on a stack, turned round and said in the end.

    A machine with rules that read nothing cannot keep up with its input, so the input is buffered: pushed on a stack,
    turned round by one tick a symbol and one more, and read from there with a tick for every step of the machine.
    """
    if any(rule.read is None for rule in machine.rules):
        return _Buffered(machine).program()
    return _RealTime(machine).program()


class _Lowering:
    """What both ways share: the named states at the end, and two more stacks for what is `held` of the input or output.

    Without symbols to hold there are no such stacks.
    """

    stacks: tuple[str, str]

    def __init__(self, machine: Machine, held: Iterable[str], *, keeps_output: bool) -> None:
        self.machine = machine
        written = sorted({symbol for rule in machine.rules for symbol in rule.write})
        self.symbols = tuple(dict.fromkeys((*held, *(written if keeps_output else ()))))
        extra = tuple(Memory(name, self.symbols) for name in self.stacks if self.symbols)
        self.draft = draft = Draft((*machine.memories, *extra), machine.states, machine.alphabet, written)
        self.alphabets = tuple(memory.alphabet for memory in machine.memories)
        self.sink = draft.name("refused")
        self.accepted = draft.name("accepted")
        self.rejected = draft.name("rejected")
        self.writing = draft.name("writing")
        self.done = draft.name("done")
        self.marked = machine.accepting or (frozenset() if machine.acceptor else frozenset(machine.states))

    def tops(self, tops: Tops) -> dict[str, str | None]:
        return {memory.name: top for memory, top in zip(self.machine.memories, tops, strict=True)}

    def actions(self, rule: Rule) -> dict[str, Action]:
        return {memory.name: action for memory, action in zip(self.machine.memories, rule.actions, strict=True)}

    def only(self, state: str, to: str, expected: str) -> None:
        self.draft.step(state, None, to)
        self.draft.expect(state, {expected: 1})

    def closing(self) -> None:
        """The sink, the answers and the end of the line."""
        draft, acceptor = self.draft, self.machine.acceptor
        draft.step(self.sink, [draft.end], self.rejected if acceptor else self.done)
        draft.step(self.sink, None, self.sink)
        draft.expect(self.sink, lost(self.machine.alphabet, draft.end))
        self.only(self.accepted, self.done, YES)
        self.only(self.rejected, self.done, NO)
        self.only(self.done, self.done, RESET)

    def saying(self) -> None:
        """Turn the output round, a tick a symbol, and say it."""
        draft, (kept, turned) = self.draft, self.stacks
        for symbol in self.symbols:
            draft.step(self.writing, None, self.writing, {kept: symbol}, {kept: POP, turned: Action(push=(symbol,))})
            draft.expect(self.writing, {draft.tick: 1}, {kept: symbol})
            draft.step(self.writing, None, self.writing, {kept: "", turned: symbol}, {turned: POP})
            draft.expect(self.writing, {symbol: 1}, {kept: "", turned: symbol})
        draft.step(self.writing, None, self.writing, {kept: "", turned: ""})
        draft.expect(self.writing, {RESET: 1}, {kept: "", turned: ""})


class _RealTime(_Lowering):
    def __init__(self, machine: Machine) -> None:
        self.late = _writes_late(machine)
        self.early = not machine.acceptor and not self.late
        self.stacks = (free_memory("output", machine.memories), free_memory("said", machine.memories))
        super().__init__(machine, (), keeps_output=self.early)
        self.after: dict[str, str] = {}
        self.hopeful = _leads_to(machine, self.marked)

    def program(self) -> Program:
        machine = self.machine
        origins = {}
        for state in machine.states:
            origins[state] = state
            self._input(state)
        settled: set[str] = set()
        while waiting := [state for state in self.after if state not in settled]:
            for state in waiting:
                settled.add(state)
                origins[self.after[state]] = state
                self._behind(state)
        self.closing()
        if self.early:
            self.saying()
        return self.draft.finish(machine.name, machine.start, origins, acceptor=machine.acceptor)

    def rules(self, state: str, read: str) -> list[Rule]:
        return [rule for rule in self.machine.rules_of[state] if rule.read == read]

    def uncovered(self, rules: Iterable[Rule]) -> list[Tops]:
        return uncovered([rule.tops for rule in rules], self.alphabets)

    def does(self, rule: Rule) -> dict[str, Action]:
        if not (self.early and rule.write):
            return self.actions(rule)
        return self.actions(rule) | {self.stacks[0]: Action(push=tuple(rule.write))}

    def at_rest(self, state: str) -> str:
        if self.machine.acceptor:
            return self.accepted if state in self.marked else self.rejected
        return self.writing if self.early and state in self.marked else self.done

    def behind(self, state: str) -> str:
        """Return the program's state for a state of the machine when the input is over."""
        if not self.rules(state, END):
            return self.at_rest(state)
        if state not in self.after:
            self.after[state] = self.draft.name(f"{state}_at_end")
        return self.after[state]

    def _input(self, state: str) -> None:
        draft, machine = self.draft, self.machine
        for symbol in machine.alphabet:
            if rules := self.rules(state, symbol):
                for rule in rules:
                    draft.step(state, [symbol], rule.to, self.tops(rule.tops), self.does(rule))
                for tops in self.uncovered(rules):
                    draft.step(state, [symbol], self.sink, self.tops(tops))
        draft.step(state, None, self.sink)
        if self.late:
            draft.step(state, [draft.end], self.behind(state))
        else:
            rules = self.rules(state, END)
            for rule in rules:
                draft.step(state, [draft.end], self.behind(rule.to), self.tops(rule.tops), self.does(rule))
            for tops in self.uncovered(rules):
                draft.step(state, [draft.end], self.at_rest(state), self.tops(tops))
        patterns = [rule.tops for rule in machine.rules_of[state]]
        for tops, weights in table(patterns, self.alphabets, lambda cell: self._weights(state, cell)):
            draft.expect(state, weights, self.tops(tops))

    def _weights(self, state: str, tops: Tops) -> Mapping[str, float]:
        """What may still be accepted has its weight; the rest, so that it is seen at all, shares a small one.

        An automaton's input may end anywhere: there, that it is rejected is no slip.
        """
        weights: dict[str, float] = {}
        for symbol in self.machine.alphabet:
            rule = covering(self.rules(state, symbol), _tops, tops)
            if rule and rule.to in self.hopeful:
                grows = any(len(action.push) > action.pop for action in rule.actions)
                weights[symbol] = GROWING if grows else 1.0
        rule = covering(self.rules(state, END), _tops, tops)
        if rule is None:
            may_end = state in self.marked
        else:
            may_end = rule.to in (self.hopeful if self.rules(rule.to, END) else self.marked)
        end = self.draft.end
        if not weights and not may_end:
            return lost(self.machine.alphabet, end)
        if may_end or not self.machine.memories:
            weights = with_end(weights, end)
        slips = [token for token in (*self.machine.alphabet, end) if token not in weights]
        return weights | dict.fromkeys(slips, SLIP / max(1, len(slips)))

    def _behind(self, state: str) -> None:
        machine, draft, here, rules = self.machine, self.draft, self.after[state], self.rules(state, END)
        for rule in rules:
            draft.step(here, None, self.behind(rule.to), self.tops(rule.tops), self.does(rule))
        for tops in self.uncovered(rules):
            draft.step(here, None, self.done if machine.acceptor else self.at_rest(state), self.tops(tops))

        def expected(tops: Tops) -> Mapping[str, float]:
            if rule := covering(rules, _tops, tops):
                return {rule.write if self.late and rule.write else draft.tick: 1.0}
            if machine.acceptor:
                return {YES if state in self.marked else NO: 1.0}
            return {draft.tick if self.early and state in self.marked else RESET: 1.0}

        for tops, weights in table([rule.tops for rule in rules], self.alphabets, expected):
            draft.expect(here, weights, self.tops(tops))


class _Buffered(_Lowering):
    def __init__(self, machine: Machine) -> None:
        self.stacks = (free_memory("input", machine.memories), free_memory("unread", machine.memories))
        super().__init__(machine, machine.alphabet, keeps_output=True)
        self.reading = self.draft.name("reading")
        self.turning = self.draft.name("turning")

    def program(self) -> Program:
        draft, machine, (kept, unread) = self.draft, self.machine, self.stacks
        for symbol in machine.alphabet:
            draft.step(self.reading, [symbol], self.reading, actions={kept: Action(push=(symbol,))})
            move = {kept: POP, unread: Action(push=(symbol,))}
            draft.step(self.turning, None, self.turning, {kept: symbol}, move)
        draft.step(self.reading, [draft.end], self.turning if machine.alphabet else machine.start)
        draft.step(self.reading, None, self.sink)
        draft.step(self.turning, None, machine.start, {kept: ""} if self.symbols else {})
        draft.expect(self.reading, with_end(dict.fromkeys(machine.alphabet, GROWING), draft.end))
        draft.expect(self.turning, {draft.tick: 1})
        for state in machine.states:
            self._running(state)
        self.closing()
        if not machine.acceptor:
            self.saying()
        origins = {state: state for state in machine.states}
        return draft.finish(machine.name, self.reading, origins, acceptor=machine.acceptor)

    def _running(self, state: str) -> None:
        """One step of the machine per tick; where none fits, it is at rest (nothing unread) or stuck."""
        draft, machine, (kept, unread) = self.draft, self.machine, self.stacks
        rules = machine.rules_of[state]
        for rule in rules:
            tops, actions = self.tops(rule.tops), self.actions(rule)
            if self.symbols and rule.read is not None:
                tops[unread] = "" if rule.read == END else rule.read
            if rule.read not in (None, END):
                actions[unread] = POP
            if rule.write:
                actions[kept] = Action(push=tuple(rule.write))
            draft.step(state, None, rule.to, tops, actions)

        def outcome(tops: Tops) -> str:
            """What a token stands for over these tops: the tick, an answer, or the end of the line."""
            if covering(rules, self._seen, tops):
                return draft.tick
            at_rest = not self.symbols or tops[-1] == ""
            accepts = at_rest and state in self.marked
            if machine.acceptor:
                return YES if accepts else NO
            return "say" if accepts else RESET

        alphabets = (*self.alphabets, self.symbols) if self.symbols else self.alphabets
        rest = ((None,) * len(self.alphabets) + ("",),) if self.symbols else ()
        patterns = [*map(self._seen, rules), *rest]
        for tops, found in table(patterns, alphabets, outcome):
            over = self.tops(tops[: len(self.alphabets)]) | ({unread: tops[-1]} if self.symbols else {})
            draft.expect(state, {draft.tick if found == "say" else found: 1.0}, over)
            if found != draft.tick:
                draft.step(state, None, self.writing if found == "say" else self.done, over)

    def _seen(self, rule: Rule) -> Tops:
        """The tops of a rule, with what is unread as the last memory."""
        if not self.symbols:
            return rule.tops
        return (*rule.tops, None if rule.read is None else "" if rule.read == END else rule.read)


def _tops(rule: Rule) -> Tops:
    return rule.tops


def _writes_late(machine: Machine) -> bool:
    """Tell whether all that is written comes behind the input, a symbol a step, with no other step once it began.

    And it must be sure by then that the machine accepts: what is rejected has no output.
    """
    writers = [rule for rule in machine.rules if rule.write]
    if not writers or any(rule.read != END or len(rule.write) != 1 for rule in writers):
        return False
    begun = list(dict.fromkeys(rule.to for rule in writers))
    for state in begun:  # grows while it is walked
        for rule in machine.rules_of[state]:
            if rule.read == END:
                if not rule.write:
                    return False
                if rule.to not in begun:
                    begun.append(rule.to)
    return not machine.accepting or machine.accepting.issuperset(begun)


def _leads_to(machine: Machine, marked: frozenset[str]) -> frozenset[str]:
    """Return the states from which a marked state can be reached, whatever the memories hold."""
    found = set(marked)
    while more := {rule.state for rule in machine.rules if rule.to in found} - found:
        found |= more
    return frozenset(found)
