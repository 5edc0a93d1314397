"""Ctrl-C and SIGTERM: the first asks to stop, the second stops at once.

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
    """Catch the first SIGINT or SIGTERM; a second one ends the process without any tidying up."""
    interrupts = Interrupts()

    def hear(number: int, _: FrameType | None) -> None:
        if interrupts.received is not None:
            leave_at_once(128 + number)
        interrupts.received = number

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
