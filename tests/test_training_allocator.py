"""Freed memory is kept: a step that frees and asks again for large blocks does not fault in fresh pages."""

import platform
import resource
import subprocess
import sys

import pytest

from unrolled.training.allocator import keep_freed_memory

FAULTS = """
import resource, sys
import torch
from unrolled.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    return [torch.ones(500_000) for _ in range(8)]
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_a_step_gets_its_memory_back():
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    pages = 20 * 8 * 500_000 * 4 // resource.getpagesize()
    assert faults("keep") < pages / 50


def test_it_may_be_asked_twice():
    assert keep_freed_memory() == keep_freed_memory()
