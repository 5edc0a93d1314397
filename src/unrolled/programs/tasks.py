"""TASKS: the only list of tasks, by name.

Knows nothing about models. A new task is a generator in one of the files beside this one, and a Task that names it.
"""

from unrolled.errors import ConfigError, nearest
from unrolled.programs.tasks_common import LEVELS, UNASKED, Measure, Task
from unrolled.programs.tasks_memory import MEMORY
from unrolled.programs.tasks_regular import REGULAR
from unrolled.programs.tasks_strings import STRINGS

__all__ = ["LEVELS", "TASKS", "UNASKED", "Measure", "Task", "task_named"]

TASKS: dict[str, Task] = {task.name: task for task in (*REGULAR, *STRINGS, *MEMORY)}
"""Every task by its name, easy levels first."""


def task_named(name: str) -> Task:
    """Return a task. Raises ConfigError, which names the nearest one, when there is none of this name."""
    if name not in TASKS:
        raise ConfigError(expected="a task", received=repr(name), remedy=nearest(name, TASKS))
    return TASKS[name]
