"""The features of a text: pure functions `text -> one label per character`, and the list of those built in.

Label t describes the place after character t was read: what a unit can know at time t. Only a feature that says so
("the next character is ...", "... will end with ...") looks ahead. Where something is inside two marks, the label is on
from the last character of the opening mark and off at the last one of the closing mark, so that a unit that reads
strictly in order can be perfect. Labels are computed for a text as a whole, never for pieces of it; a feature that is
`causal` would give the same labels for every piece from the beginning. Knows nothing about models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unrolled.neurons import (
    features_brackets,
    features_code,
    features_letters,
    features_lines,
    features_python,
    features_quotes,
    features_sentences,
    features_words,
)
from unrolled.neurons.features_arrays import Number, YesNo

Kind = Literal["yes-no", "number"]


@dataclass(frozen=True)
class Feature:
    """One thing about a text that a unit may follow.

    `labels(text)` returns one label per character: bool for `yes-no`, float32 for `number`, NaN where the number is
    undefined. `causal`: the labels of a text's beginning are the beginning of its labels.
    """

    name: str
    description: str
    kind: Kind
    labels: Callable[[str], np.ndarray]
    causal: bool


def name_of(function: Callable[[str], np.ndarray]) -> str:
    """Return a feature's name: the function's, with hyphens."""
    return function.__name__.strip("_").replace("_", "-")


def description_of(function: Callable[[str], np.ndarray]) -> str:
    """Return a feature's description: the first line of the function's docstring, as it stands inside a sentence."""
    line = next(iter((function.__doc__ or "").strip().splitlines()), "").strip().removesuffix(".")
    return line if line[1:2].isupper() else line[:1].lower() + line[1:]


def _yes_no(function: Callable[[str], YesNo], *, causal: bool = True) -> Feature:
    return Feature(name_of(function), description_of(function), "yes-no", function, causal)


def _number(function: Callable[[str], Number], *, causal: bool = True) -> Feature:
    return Feature(name_of(function), description_of(function), "number", function, causal)


FEATURES: tuple[Feature, ...] = (
    _yes_no(features_quotes.inside_double_quotes),
    _yes_no(features_quotes.inside_single_quotes, causal=False),
    _number(features_quotes.characters_since_quote),
    _number(features_lines.position_in_line),
    _number(features_lines.characters_until_newline, causal=False),
    _number(features_lines.line_progress, causal=False),
    _yes_no(features_lines.line_nearly_full, causal=False),
    _number(features_lines.indentation),
    _yes_no(features_lines.line_blank_so_far),
    _yes_no(features_lines.blank_line),
    _yes_no(features_lines.odd_line),
    _number(features_lines.previous_line_length),
    _number(features_lines.tabs_in_line),
    _number(features_lines.commas_in_line),
    _yes_no(features_lines.speaker_line, causal=False),
    _yes_no(features_sentences.paragraph_start),
    _number(features_sentences.position_in_paragraph),
    _number(features_sentences.line_number_in_paragraph),
    _yes_no(features_sentences.after_full_stop),
    _number(features_sentences.position_in_sentence),
    _yes_no(features_sentences.inside_question, causal=False),
    _number(features_words.position_in_word),
    _number(features_words.word_progress, causal=False),
    _yes_no(features_words.first_letter_of_word),
    _yes_no(features_words.last_letter_of_word, causal=False),
    _yes_no(features_words.capitalised_word),
    _yes_no(features_words.all_caps_word),
    _yes_no(features_words.inside_number, causal=False),
    _yes_no(features_words.inside_url),
    _yes_no(features_brackets.inside_parentheses),
    _yes_no(features_brackets.inside_square_brackets),
    _yes_no(features_brackets.inside_curly_braces),
    _number(features_brackets.parenthesis_depth),
    _number(features_brackets.square_bracket_depth),
    _number(features_brackets.curly_brace_depth),
    _number(features_brackets.bracket_depth),
    _yes_no(features_brackets.inside_double_square_brackets),
    _yes_no(features_brackets.inside_markup_tag, causal=False),
    _yes_no(features_code.inside_slash_comment, causal=False),
    _yes_no(features_code.inside_block_comment, causal=False),
    _yes_no(features_python.inside_hash_comment, causal=False),
    _yes_no(features_python.inside_string_literal, causal=False),
    _yes_no(features_python.inside_docstring, causal=False),
    _yes_no(features_python.inside_if_line, causal=False),
    _yes_no(features_python.inside_def_line, causal=False),
    _yes_no(features_python.inside_class_line, causal=False),
    _yes_no(features_letters.vowel),
    _yes_no(features_letters.consonant),
    _yes_no(features_letters.digit),
    _yes_no(features_letters.punctuation),
    _yes_no(features_letters.capital_letter),
    _yes_no(features_letters.repeated_character),
    _number(features_letters.whitespace_run),
    _yes_no(features_letters.next_is_newline, causal=False),
    _yes_no(features_letters.next_is_space, causal=False),
    _yes_no(features_letters.next_is_quote, causal=False),
    _yes_no(features_letters.next_is_capital, causal=False),
)
