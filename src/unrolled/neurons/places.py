"""Where a feature is decided: the places of a text whose next character makes its label leave its usual course.

Knows nothing about models: labels, and the text they belong to. T is time, one place per character.

A unit that remembers whether a quotation is open matters where the quotation may end; one that counts along a line,
where the line may. Both follow from the labels alone. A label that usually stays (inside quotes) is decided where it
goes off; one that is over at once (first letter of a word) where it goes on; one that is a matter of the next
character itself (the next character is a newline) where it is on. A number is decided where its step is not the usual
one: 1 for a position, 0 for a depth.
"""

from dataclasses import dataclass

import numpy as np

from unrolled.text.display import visible_line

FEWEST = 20
"""With fewer places than this nothing can be said about them."""
FAR = 5.0
"""A number that is no integer leaves its course by a step of so many times the median step."""
TELLS = 0.9
"""The balanced accuracy from which on a label is a matter of the next character."""
_ENDS, _BEGINS, _CHANGES, _LOWERS, _BREAKS, _SAYS = (
    f"the next character {deed}"
    for deed in ("ends it", "begins it", "changes it", "lowers it", "breaks its usual step", "is what it says")
)
_NAMES = {"\n": "a newline", " ": "a space", "\t": "a tab", "\r": "a carriage return"}


@dataclass(frozen=True, eq=False)
class Decided:
    """Where a feature is decided: `mask_T` holds the places t whose next character, t + 1, decides.

    `where` says it in words, `mark` is the commonest of these next characters, and `share` its share among them.
    """

    mask_T: np.ndarray
    where: str
    mark: str
    share: float


def decided(text: str, labels_T: np.ndarray) -> Decided | None:
    """Return where labels of a text are decided, bool for yes/no and float with NaN for a number.

    None where there are fewer than `FEWEST` such places. The last place is never one: nothing follows it.
    """
    if len(labels_T) < 2:
        return None
    mask, deed = _yes_no(text, labels_T) if labels_T.dtype == bool else _number(labels_T)
    places = np.flatnonzero(mask)
    if len(places) < FEWEST:
        return None
    following, counts = np.unique(_codes(text)[places + 1], return_counts=True)
    mark, share = chr(following[counts.argmax()]), float(counts.max() / len(places))
    return Decided(np.append(mask, False), _sentence(deed, mark, share), mark, share)


def _sentence(deed: str, mark: str, share: float) -> str:
    if share == 1.0:
        return f"the next character is {named(mark)}" if deed in (_SAYS, _BREAKS) else f"{deed}: {named(mark)}"
    return f"{deed}, {'usually' if share >= 0.5 else 'most often'} {named(mark)}"


def named(character: str) -> str:
    """Return a character as it stands in a sentence: visible, and white space by its name."""
    return _NAMES.get(character) or visible_line(character)


def _yes_no(text: str, labels_T: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the places, (T - 1,), and what the next character does there."""
    now, after = labels_T[:-1], labels_T[1:]
    ends, begins = now & ~after, ~now & after
    if 2 * ends.sum() <= now.sum():
        chosen, deed = ends, _ENDS
    elif _says_what_comes(text, now):
        return now, _SAYS
    else:
        chosen, deed = begins, _BEGINS
    return (chosen, deed) if chosen.sum() >= FEWEST else (now != after, _CHANGES)


def _says_what_comes(text: str, now: np.ndarray) -> bool:
    """Tell whether the next character alone gives the label away."""
    if now.all() or not now.any():
        return False
    _, following = np.unique(_codes(text)[1:], return_inverse=True)
    on_C = np.bincount(following, weights=now) / now.sum()
    off_C = np.bincount(following, weights=~now) / (~now).sum()
    return float(np.maximum(on_C, off_C).sum()) / 2 >= TELLS


def _number(labels_T: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the places, (T - 1,): an unusual step, or a number that is no longer defined; and what happens there."""
    now, after = labels_T[:-1].astype(np.float64), labels_T[1:].astype(np.float64)
    there, still = ~np.isnan(now), ~np.isnan(after)
    both = there & still
    if not both.any():
        return np.zeros(len(now), dtype=bool), _BREAKS
    step = np.where(both, after - np.where(there, now, 0.0), 0.0)
    steps = step[both]
    if not (steps == np.round(steps)).all():
        return both & (np.abs(step) > FAR * np.median(np.abs(steps))) | there & ~still, _BREAKS
    values, counts = np.unique(steps, return_counts=True)
    usual = values[counts.argmax()]
    if usual == 0 and (step < 0).sum() >= FEWEST:
        return step < 0, _LOWERS
    return both & (step != usual) | there & ~still, _BREAKS


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
