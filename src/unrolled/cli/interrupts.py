"""Ctrl-C, SIGTERM and a closed terminal: the first asks to stop, the second stops at once.

Knows nothing about what is being stopped.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from unrolled.cli.console import leave_at_once


class Interrupts:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __call__(self) -> bool:
        """Say whether to stop."""
        return self.received is not None

    @property
    def exit_status(self) -> int:
        """The status by which shells know a program that a signal ended: 128 + its number; 0 when none came."""
        return 0 if self.received is None else 128 + self.received


@contextmanager
def listening() -> Iterator[Interrupts]:
    """Catch the first SIGINT, SIGTERM or hang-up; a second one ends the process without any tidying up."""
    interrupts = Interrupts()

    def hear(number: int, _: FrameType | None) -> None:
        if interrupts.received is not None:
            leave_at_once(128 + number)
        interrupts.received = number

    numbers = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:  # nohup ignores it
        numbers.append(hang_up)
    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
