"""Every test sees checked shapes, one thread's worth of noise, and a cache of its own."""

from jaxtyping import install_import_hook

install_import_hook("unrolled", "checked.tower")

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
# Before any test gets a cache of its own: the compiled kernels are built once and kept.
native.library()
