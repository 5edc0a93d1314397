"""Every test sees checked shapes, one thread's worth of noise, and a cache of its own."""

import signal
from importlib.util import find_spec
from pathlib import Path

from jaxtyping import install_import_hook

spec = find_spec("unrolled")
assert spec is not None and spec.origin is not None
SOURCE = Path(spec.origin).parent
# What computes with tensors or arrays; machines and circuits are plain values, called millions of times.
CHECKED = [
    ".".join(("unrolled", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if path.parent.name != "programs" or "import numpy" in (text := path.read_text("utf-8")) or "import torch" in text
]
install_import_hook([name for name in CHECKED if name != "unrolled"], "checked.tower")

import pytest  # noqa: E402
import torch  # noqa: E402

from unrolled.kernels import native  # noqa: E402


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def same_start():
    torch.manual_seed(0)


torch.set_num_threads(1)
# A shell's background job ignores these, and so would everything that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Before any test gets a cache of its own: the compiled kernels are built once and kept.
native.library()
