"""Where things live that can be made again: the cache folder, and a private one that goes away with the process.

Knows nothing about what is kept there, and imports nothing but the standard library.
"""

import atexit
import functools
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder, made or not: UNROLLED_CACHE, else XDG_CACHE_HOME/unrolled, else ~/.cache/unrolled.

    A user without a home (`docker run -u 12345`) has unrolled-<uid> in the temporary folder.
    """
    if chosen := os.environ.get("UNROLLED_CACHE"):
        return Path(chosen)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared, "unrolled")
    try:
        return Path("~/.cache/unrolled").expanduser()
    except RuntimeError:  # no HOME, and no entry in the list of users
        return _own_folder(Path(tempfile.gettempdir()), getattr(os, "getuid", int)())


def temporary_folder() -> Path:
    """Return a new private folder that goes away with this process. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix="unrolled-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _own_folder(parent: Path, user: int) -> Path:
    """Return a folder that stays and that nobody else can write to: code that was compiled is loaded from it."""
    folder = parent / f"unrolled-{user}"
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022
        return folder if private else temporary_folder()
    except OSError:  # no room: a place that never exists, so that whoever writes there says so
        return Path(os.devnull, "unrolled")
