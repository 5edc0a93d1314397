"""The compiled kernels: built once by the machine's own C++ compiler, and done without where there is none.

Knows nothing about layers or gradients. The C++ files beside it need AVX-512 with BF16 and OpenMP; where the compiler,
the processor or the operating system lacks anything, `library()` is None, `problem()` says why, and torch's own
operators are used instead.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from unrolled.folders import cache_folder

SOURCES = tuple(sorted(Path(__file__).parent.glob("*.cpp")))
HEADERS = tuple(sorted(Path(__file__).parent.glob("*.h")))
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-fopenmp", "-fno-math-errno")
BUILD_SECONDS = 120
NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512_bf16")


class _UnavailableError(Exception):
    """Why there is no compiled kernel; never leaves this module."""


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get("UNROLLED_NATIVE") == "0":
        return None, "switched off by UNROLLED_NATIVE=0"
    try:
        return ctypes.CDLL(str(_built())), ""
    except (_UnavailableError, OSError) as problem:
        return None, " ".join(str(problem).split())[:200]


def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, built at the first call (a few seconds, then kept); None where there are none."""
    return _loaded()[0]


def problem() -> str:
    """Return why `library()` is None, in a few words; empty when it is not."""
    return _loaded()[1]


def fingerprint() -> str:
    """Return a name of the compiled kernels that changes with source, compiler flags or processor; empty without."""
    found = library()
    return "" if found is None else Path(str(found._name)).stem


def in_bfloat16(x: Tensor) -> bool:
    """Say whether products of `x` run in bfloat16 on a CPU: where the compiled kernels are at home."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


def call(name: str, *arguments: Tensor | int) -> None:
    """Call a compiled kernel with tensors (contiguous, of the dtype it expects) and integers, then all threads.

    The tensors are held here until the kernel has returned, so temporaries are safe to pass.
    """
    found = library()
    assert found is not None
    passed: list[ctypes.c_int | ctypes.c_void_p] = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            assert argument.is_contiguous(), name
            passed.append(ctypes.c_void_p(argument.data_ptr()))
        else:
            passed.append(ctypes.c_int(argument))
    getattr(found, name)(*passed, ctypes.c_int(torch.get_num_threads()))


def _built() -> Path:
    """Return the path of the shared library for this processor and source, compiling it if need be."""
    flags = _processor_flags()
    if missing := [flag for flag in NEEDED if flag not in flags]:
        raise _UnavailableError(f"this processor lacks {', '.join(missing)}")
    compiler = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    if compiler is None:
        raise _UnavailableError("no C++ compiler (c++, g++ or clang++) was found")
    sources = b"".join(path.read_bytes() for path in (*HEADERS, *SOURCES))
    facts = (sources, " ".join(FLAGS).encode(), " ".join(sorted(flags)).encode(), compiler.encode())
    target = cache_folder() / "kernels" / f"native-{hashlib.sha256(b'|'.join(facts)).hexdigest()[:16]}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            try:
                _compile(compiler, Path(scratch), made)
            except subprocess.CalledProcessError as error:
                raise _UnavailableError(f"{compiler} could not build them: {error.stderr.strip()[-150:]}") from None
            except subprocess.TimeoutExpired:
                raise _UnavailableError(f"{compiler} took over {BUILD_SECONDS} seconds") from None
            made.replace(target)
    return target


def _compile(compiler: str, scratch: Path, made: Path) -> None:
    """Compile every source side by side and link them; raises what subprocess.run raises."""

    def run(*arguments: str) -> None:
        command = [compiler, *FLAGS, *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS)

    objects = [scratch / f"{source.stem}.o" for source in SOURCES]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda pair: run("-c", str(pair[0]), "-o", str(pair[1])), zip(SOURCES, objects, strict=True)))
    run("-shared", *map(str, objects), "-o", str(made))


def _processor_flags() -> set[str]:
    information = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not information.exists():
        raise _UnavailableError(f"they are written for x86-64 on Linux, and this is {platform.machine()} on {os.name}")
    for line in information.read_text(errors="replace").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
