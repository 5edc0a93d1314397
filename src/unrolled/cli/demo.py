"""`unrolled demo`: the tour. A model learns the manual of this Python while one watches, writes, and is looked into.

Knows nothing that the other verbs do not: it is `train` with a story around it.
"""

from typing import Annotated

from cyclopts import Parameter

from unrolled.cli.console import Voice
from unrolled.cli.options import Folder, Json, Number, TextArguments
from unrolled.cli.train import TrainArguments, train_new

TEXT = "builtin:manual"
MINUTES = 2.0
CARDS = 3


def demo(
    *,
    minutes: Number = MINUTES,
    run: Annotated[Folder | None, Parameter(name="--run")] = None,
    json: Json = False,
) -> int:
    """Take the tour: about three and a half minutes on two cores, nothing downloaded.

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
    from unrolled.cli.neurons import look_inside
    from unrolled.cli.summary import surprised

    status, experiment = train_new(voice, [TEXT], TextArguments(), TrainArguments(minutes=minutes), run)
    if status == 0 and (shown := surprised(experiment, voice.width)):
        voice.say()
        voice.say(shown)
    if status == 0:
        voice.say()
        voice.say("And inside? Every unit is compared with what can be read off the text: quotes, lines, brackets ...")
        look_inside(voice, experiment.folder.path, CARDS)
    return status
