"""`unrolled demo`: the tour. A model learns the manual of this Python while one watches, and then writes.

Knows nothing that the other verbs do not: it is `train` with a story around it.
"""

from pathlib import Path

from unrolled.cli.console import Voice
from unrolled.cli.options import Switch

TEXT = "manual"
MINUTES = 2.2


def demo(*, minutes: float = MINUTES, run: Path | None = None, json: Switch = False) -> int:
    """Take the tour: about three minutes on two cores, nothing downloaded.

    Parameters
    ----------
    minutes
        How long to train.
    run
        Keep the run in this folder (default: a new one under runs/).
    json
        End with one JSON line on standard output.
    """
    voice = Voice(as_json=json)
    voice.say("unrolled: a network learns to write, character by character", style="bold")
    voice.say("It knows no words and no grammar. It reads the manual of this Python and guesses each next character.")
    voice.say("Watch the passage it writes: first noise, then letters, then words, then sentences.")
    voice.say()
    from unrolled.cli.reading import read
    from unrolled.cli.summary import surprised
    from unrolled.cli.train import announce, run_to_the_end
    from unrolled.laboratory import new_run_path
    from unrolled.text.corpus import TextOptions
    from unrolled.training.experiment import begin
    from unrolled.training.recipe import Request, make_plan

    options = TextOptions()
    corpus = read(voice, [f"builtin:{TEXT}"], options)
    request = Request(minutes=minutes)
    plan = make_plan(request, corpus.vocabulary, len(corpus.part("train")), len(corpus.part("valid")))
    path = run if run is not None else new_run_path([TEXT], request)
    experiment = begin(corpus, options, plan, str(path))
    announce(voice, corpus, plan, request, path)
    status = run_to_the_end(voice, experiment)
    if status == 0 and (shown := surprised(experiment, min(100, voice.console.width))):
        voice.say()
        voice.say(shown)
    return status
