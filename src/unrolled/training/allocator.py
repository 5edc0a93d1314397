"""Ask the C library to keep the memory that a training step frees, because the next step wants it again.

Knows nothing about models. glibc returns large blocks to the system at once, and getting them back means that the
system fills thousands of pages with zeros at every step: 4 to 10 % of a step's time was spent so (docs/LOG.md).
Elsewhere than on glibc nothing happens.
"""

import ctypes
import functools
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""The names of mallopt(3) for what is set."""
LARGEST_KEPT = 2**30
"""Blocks of up to so many bytes come from memory that is kept."""


@functools.cache
def keep_freed_memory() -> bool:
    """Keep freed memory from now on, in this whole process; return whether the C library agreed."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1))
