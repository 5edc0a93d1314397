"""From a Turing machine to a program with two stacks: the tape to the left of the head, and from the head on.

Knows nothing about automata and stacks that a person wrote, about circuits or about networks.
"""

from collections.abc import Mapping

from unrolled.programs.drafting import GROWING, NO, YES, Draft, with_end
from unrolled.programs.program import RESET, Program
from unrolled.programs.turing import Action, Memory, TuringMachine

LEFT, RIGHT = "left", "right"
POP = Action(pop=True)


def lower_turing_machine(machine: TuringMachine) -> Program:
    """Return the program of a Turing machine: the input is buffered, turned round, and then run one step per token.

    `left` holds the cells before the head (its top is the nearest), `right` the head's cell (its top) and those after
    it; where a stack is empty, the tape is blank. Reading pushes the input on `left`; behind the end sign one tick a
    symbol moves it to `right`, one more starts the machine, and then every machine step is one tick. When it halts, an
    acceptor answers. Other machines move everything to `left` and drop the blanks there, move it back and drop the
    blanks there, and then write a symbol per token.
    """
    return _Tape(machine).program()


class _Tape:
    def __init__(self, machine: TuringMachine) -> None:
        self.machine = machine
        memories = (Memory(LEFT, machine.tape), Memory(RIGHT, machine.tape))
        self.draft = draft = Draft(memories, machine.states, machine.alphabet, machine.tape)
        self.reading = draft.name("reading")
        self.sink = draft.name("refused")
        self.turning = draft.name("turning")
        self.accepted = draft.name("accepted")
        self.rejected = draft.name("rejected")
        self.gathering = draft.name("gathering")
        self.trimming = draft.name("trimming")
        self.returning = draft.name("returning")
        self.writing = draft.name("writing")
        self.done = draft.name("done")

    def program(self) -> Program:
        machine = self.machine
        self._input()
        for state in machine.states:
            if state not in machine.final:
                self._running(state)
        if machine.acceptor:
            for state, answer in ((self.accepted, YES), (self.rejected, NO)):
                self._only(state, self.done, answer)
        else:
            self._output()
        self._only(self.done, self.done, RESET)
        origins = {state: state for state in machine.states if state not in machine.final}
        return self.draft.finish(machine.name, self.reading, origins, acceptor=machine.acceptor)

    def entry(self, state: str) -> str:
        """Return where the program goes when the machine enters a state."""
        machine = self.machine
        if state not in machine.final:
            return state
        if machine.acceptor:
            return self.accepted if state in machine.accepting else self.rejected
        return self.done if state in machine.rejecting else self.gathering

    def _only(self, state: str, to: str, expected: str) -> None:
        self.draft.step(state, None, to)
        self.draft.expect(state, {expected: 1})

    def _input(self) -> None:
        draft, machine = self.draft, self.machine
        for symbol in machine.alphabet:
            draft.step(self.reading, [symbol], self.reading, actions={LEFT: Action(push=(symbol,))})
            self._move(self.turning, symbol, LEFT, RIGHT)
        turned = self.turning if machine.alphabet else self.entry(machine.start)
        draft.step(self.reading, [draft.end], turned)
        draft.step(self.reading, None, self.sink)
        draft.step(self.turning, None, self.entry(machine.start), {LEFT: ""})
        draft.expect(self.reading, with_end(dict.fromkeys(machine.alphabet, GROWING), draft.end))
        draft.expect(self.turning, {draft.tick: 1})
        draft.step(self.sink, [draft.end], self.rejected if machine.acceptor else self.done)
        draft.step(self.sink, None, self.sink)
        draft.expect(self.sink, {draft.end: 1})

    def _move(self, state: str, symbol: str, origin: str, target: str) -> None:
        actions = {origin: POP, target: Action(push=(symbol,))}
        self.draft.step(state, None, state, {origin: symbol}, actions)

    def _running(self, state: str) -> None:
        draft, machine = self.draft, self.machine
        rejected = not machine.acceptor and machine.otherwise == "reject"
        for top in ("", *machine.tape):
            symbol = top or machine.blank
            if rule := machine.rules.get((state, symbol)):
                self._rule(state, top, rule)
                continue
            halted = {RESET: 1.0} if rejected else {draft.tick: 1.0}
            if machine.acceptor:
                halted = {NO: 1.0}
            ends = machine.acceptor or rejected
            draft.step(state, None, self.done if ends else self.gathering, {RIGHT: top})
            draft.expect(state, halted, {RIGHT: top})
        ruled = [top for top in ("", *machine.tape) if (state, top or machine.blank) in machine.rules]
        every = len(ruled) == len(machine.tape) + 1
        for top in (None,) if every else ruled:
            draft.expect(state, {draft.tick: 1}, {RIGHT: top})

    def _rule(self, state: str, top: str, rule: tuple[str, str, str]) -> None:
        to, write, move = rule
        same = top == write
        away = Action(pop=True) if top else Action()
        stays = Action() if same else Action(pop=bool(top), push=(write,))
        entry = self.entry(to)
        if move == "R":
            self.draft.step(state, None, entry, {RIGHT: top}, {LEFT: Action(push=(write,)), RIGHT: away})
        elif move == "S":
            self.draft.step(state, None, entry, {RIGHT: top}, {RIGHT: stays})
        else:
            for before in ("", *self.machine.tape):
                actions: Mapping[str, Action] = {
                    LEFT: POP if before else Action(),
                    RIGHT: Action(stays.pop, (*stays.push, before or self.machine.blank)),
                }
                self.draft.step(state, None, entry, {LEFT: before, RIGHT: top}, actions)

    def _output(self) -> None:
        draft, blank = self.draft, self.machine.blank
        for symbol in self.machine.tape:
            self._move(self.gathering, symbol, RIGHT, LEFT)
            self._move(self.returning, symbol, LEFT, RIGHT)
            first, write = {LEFT: "", RIGHT: symbol}, {RIGHT: symbol}
            if symbol == blank:
                draft.step(self.trimming, None, self.trimming, {LEFT: symbol}, {LEFT: POP})
                draft.step(self.returning, None, self.returning, first, {RIGHT: POP})
                draft.expect(self.returning, {draft.tick: 1}, first)
            else:
                move = {LEFT: POP, RIGHT: Action(push=(symbol,))}
                draft.step(self.trimming, None, self.returning, {LEFT: symbol}, move)
                draft.step(self.returning, None, self.writing, first, {RIGHT: POP})
                draft.expect(self.returning, {symbol: 1}, first)
            draft.step(self.writing, None, self.writing, write, {RIGHT: POP})
            draft.expect(self.writing, {symbol: 1}, write)
            draft.expect(self.returning, {draft.tick: 1}, {LEFT: symbol})
        empty = {LEFT: "", RIGHT: ""}
        draft.step(self.gathering, None, self.trimming, {RIGHT: ""})
        draft.step(self.trimming, None, self.writing, {LEFT: ""})
        draft.step(self.returning, None, self.writing, empty)
        draft.step(self.writing, None, self.writing, {RIGHT: ""})
        draft.expect(self.gathering, {draft.tick: 1})
        draft.expect(self.trimming, {draft.tick: 1})
        draft.expect(self.returning, {RESET: 1}, empty)
        draft.expect(self.writing, {RESET: 1}, {RIGHT: ""})
