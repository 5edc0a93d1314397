"""The reference in a process of its own, as a user would run it, taking turns with this one.

Knows nothing about what is compared. Training keeps the memory that it frees (training/allocator.py), for its whole
process: in the same process the reference would borrow that.
"""

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

LONGEST_TURN = 120.0
"""Seconds after which a process that does not answer is given up."""


@dataclass(frozen=True)
class RemoteWay:
    """A way of the other process: `rate` asks it to take a turn and returns how much it did in a second."""

    name: str
    rate: Callable[[], float]
    close: Callable[[], object]


def ways_apart(name: str, build: Callable[[str], list[Any]]) -> list[RemoteWay]:
    """Start a process that calls `build(name)` for the ways (a module's own function); each `close` ends it."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, name, build), daemon=True)
    process.start()
    its.close()

    def answer() -> object:
        if not mine.poll(LONGEST_TURN):
            raise TimeoutError(f"the reference of {name} took over {LONGEST_TURN:.0f} seconds")
        return mine.recv()

    def rate(index: int) -> float:
        mine.send(index)
        found = answer()
        assert isinstance(found, float)
        return found

    def close() -> None:
        process.terminate()
        process.join()
        mine.close()

    found = answer()
    assert isinstance(found, list)
    return [RemoteWay(way, lambda index=index: rate(index), close) for index, way in enumerate(found)]


def _serve(connection: Connection, name: str, build: Callable[[str], list[Any]]) -> None:
    ways = build(name)
    connection.send([way.name for way in ways])
    while True:
        connection.send(ways[connection.recv()].rate())
