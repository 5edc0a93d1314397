"""What was typed wrong, said the way every other error is: what was expected, what came, what to do.

Knows nothing about verbs: cyclopts found the mistake.
"""

from typing import Literal, get_args, get_origin

from cyclopts import CycloptsError, UnknownOptionError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnusedCliTokensError,
)

from unrolled.cli.options import place
from unrolled.errors import ConfigError, UnrolledError, nearest


def explained(error: CycloptsError, verbs: list[str]) -> UnrolledError:
    """Return an error of ours that says the same as cyclopts' one."""
    verb = " ".join(["unrolled", *(error.command_chain or ())])
    expected, received, remedy = f"arguments of `{verb}`", " ".join(str(error).split()).rstrip("."), ""
    if isinstance(error, UnknownCommandError):
        word = (error.unused_tokens or [""])[0]
        known_words = ["--help", "--version"] if word.startswith("-") else verbs
        expected, received, remedy = "a verb", repr(word), nearest(word, known_words)
    elif isinstance(error, UnknownOptionError):
        word = (error.token.keyword or error.token.value).partition("=")[0]
        known = {name for argument in error.argument_collection for name in argument.names if name.startswith("--")}
        close = nearest(word, known)
        expected, received = f"an option of `{verb}`", repr(word)
        remedy = close if close.startswith("did you") else ""
    elif isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.keyword or error.argument.name
        expected = f"a value after {name}" if name.startswith("-") else f"{name} for `{verb}`"
        received, remedy = "none", f"type it: {verb} {name}" if not name.startswith("-") else "give one"
    elif isinstance(error, RepeatArgumentError):
        expected, received, remedy = f"{error.token.keyword} once", "it more than once", "leave one out"
    elif isinstance(error, UnusedCliTokensError):
        words = error.unused_tokens or []
        expected, received, remedy = f"no more arguments for `{verb}`", ", ".join(map(repr, words)), "leave them out"
    elif isinstance(error, CoercionError) and error.token is not None:
        choices = [str(choice) for choice in get_args(error.target_type)] if _is_choice(error) else []
        what = " or ".join([", ".join(choices[:-1]), choices[-1]]) if choices else "another value"
        expected, received = f"{what} {place(error.token)}", repr(error.token.value)
        remedy = nearest(error.token.value, choices) if choices else ""
    return ConfigError(expected=expected, received=received, remedy=remedy or f"see `{verb} --help`")


def _is_choice(error: CoercionError) -> bool:
    return get_origin(error.target_type) is Literal
