"""Findings in sentences that a person understands.

Knows nothing about how they were found: it reads the values of findings.py.
"""

import math
import re

from unrolled.neurons.findings import Ablation, Candidate, Clamp, Search
from unrolled.neurons.places import named
from unrolled.text.display import visible_line

_STATES = ("inside ", "in ", "at ", "between ", "after ", "before ", "on ", "within ", "outside ", "where ", "while ")
_CLAUSE = re.compile(r"^(?:(?!\b(?:that|which|who)\b).)*\b(?:is|are|was|were|has|have|had|will|can|does|do)\b")
_REMARK = re.compile(
    r", (?:straight or|up to|so far|as in|as links|from (?:0|the ://)|0 (?:at|between)|y among|the first line).*"
)


def sentence(candidate: Candidate) -> str:
    """Return what a finding says: what the unit does, how sure that is, what explains less, and what proves it."""
    told = [summary(candidate), _beside(candidate)]
    if candidate.ablation is not None:
        told.append(ablation_sentence(candidate.ablation))
    if candidate.clamp is not None:
        told.append(clamp_sentence(candidate.clamp))
    return " ".join(told)


def summary(candidate: Candidate) -> str:
    """Return the short form: what the unit does, and how sure that is."""
    low, high = candidate.interval
    how_sure = f"{_score(candidate)} ({_digits(low)} to {_digits(high)}) on text it was not chosen on"
    return f"{claim(candidate)}: {how_sure}."


def claim(candidate: Candidate) -> str:
    """Return what a unit does, without a full stop: `layer1.cell[137] is on inside double quotes`."""
    what = _short(candidate.description or candidate.feature)
    if candidate.kind == "yes-no":
        return f"{candidate.unit} is {'on' if candidate.sign > 0 else 'off'} {_when(what)}"
    return f"{candidate.unit} {'grows' if candidate.sign > 0 else 'falls'} with {what}"


def ablation_sentence(ablation: Ablation) -> str:
    """Return what holding the unit at its mean costs."""
    told = (
        f"Holding it at its mean costs {_nats(ablation.matters)} nats per character where the feature is decided"
        f" ({visible_line(ablation.where)}) and {_nats(ablation.elsewhere)} elsewhere"
    )
    if ablation.random_units:
        beside = _nats(ablation.random_matters)
        told += f"; of {ablation.random_units} random units of its group the worst costs {beside} there"
    told += "."
    if ablation.proved:
        return told
    if ablation.used:
        return f"{told} So the network uses it, but not above all for this."
    return f"{told} That does not prove that the network uses it."


def clamp_sentence(clamp: Clamp) -> str:
    """Return what the network writes with the unit held."""
    told = (
        f"With the unit held at {clamp.on_value:.2g} the network writes {named(clamp.mark)} {clamp.on:.1f} times in a"
        f" thousand characters, at {clamp.off_value:.2g} {clamp.off:.1f} times, left alone {clamp.untouched:.1f} times"
    )
    return f"{told}." if clamp.changed else f"{told}: no difference that {clamp.samples} samples could show."


def none_found(search: Search) -> str:
    """Return what to say when nothing holds: how much was looked at, and what came nearest; empty where some do."""
    if search.findings:
        return ""
    judged = len({candidate.feature for candidate in search.candidates})
    told = (
        f"No unit holds up: {search.units:,} units and {judged} features were tried, and none follows one of them"
        f" on {search.confirmation:,} characters that it was not chosen on, beyond what chance, the current character"
        f" and untrained copies of the network explain."
    )
    if not search.candidates:
        return told
    nearest = max(search.candidates, key=lambda one: one.gain)
    reasons = f", but {'; '.join(nearest.against)}" if nearest.against else ""
    return f"{told} The nearest: {claim(nearest)} ({_score(nearest)}{reasons})."


def _beside(candidate: Candidate) -> str:
    told = (
        f"The current character alone reaches {_digits(candidate.character_score)},"
        f" an untrained copy {_digits(candidate.untrained_score)}"
    )
    if math.isfinite(candidate.probe_score):
        layer = f" over all of {candidate.probe_layer}" if candidate.probe_layer else ""
        told += f", a linear probe{layer} {_digits(candidate.probe_score)}"
    return f"{told}."


def _score(candidate: Candidate) -> str:
    return f"{'AUC' if candidate.kind == 'yes-no' else 'rank correlation'} {_digits(candidate.score)}"


def _digits(score: float) -> str:
    """Return three digits, more where 1 is so near that three would not tell."""
    return next(
        (shown for digits in (3, 4, 5) if (shown := f"{score:.{digits}f}") != f"{1:.{digits}f}"), f"{score:.3f}"
    )


def _nats(cost: float) -> str:
    shown = f"{cost:.2f}" if abs(cost) >= 0.095 else f"{cost:.3f}"
    return shown.lstrip("-") if float(shown) == 0 else shown


def _short(description: str) -> str:
    """Return the part of a description that names the thing; what comes after : or ; or a remark explains it."""
    for mark in (";", ":"):
        head = description.partition(f"{mark} ")[0]
        # What stands before the mark must be whole: a bracket or quote that is opened there is closed there.
        if head.count("(") == head.count(")") and head.count('"') % 2 == 0:
            description = head
    return visible_line(_REMARK.sub("", description).strip())


def _when(what: str) -> str:
    if what.startswith(_STATES):
        return what
    return f"where {what}" if _CLAUSE.match(what) else f"at {what}"
