"""`unrolled doctor`: what this machine can do, measured.

Knows nothing about training: it times matrix products and a few training steps.
"""

import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.table import Table
from rich.text import Text

from unrolled.cli.console import Voice
from unrolled.cli.options import Json

PRODUCT_SIZE = 1024
PRODUCT_SECONDS = 0.4


def doctor(*, json: Json = False) -> int:
    """Say what this machine can do, measured in a few seconds.

    Parameters
    ----------
    json
        Print one JSON line.
    """
    voice = Voice(as_json=json)
    with voice.console.status("measuring …"):
        found = examine()
    if json:
        voice.result(found)
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), Text(f"{value:,.0f}" if isinstance(value, float) else str(value)))
    voice.say(table)
    return 0


def examine() -> dict[str, object]:
    """Return what was found: software, hardware, and measured speeds."""
    import torch

    import unrolled
    from unrolled.kernels import native
    from unrolled.models import ModelConfig, StackConfig, parse_layers
    from unrolled.text.vocabulary import Vocabulary
    from unrolled.training.config import TrainingConfig
    from unrolled.training.measure import default_device, faster_precision

    device = default_device()
    vocabulary = Vocabulary("characters", ("\ufffd", *(chr(33 + k) for k in range(80))))
    model = ModelConfig(stack=StackConfig(width=256), layers=parse_layers("lstm*2"))
    config = TrainingConfig(steps=1)
    precision, seconds, ratio = faster_precision(model, vocabulary, config)
    found: dict[str, object] = {
        "unrolled": unrolled.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "device": str(device) if device.type != "cuda" else torch.cuda.get_device_name(device),
        "compiled_kernels": "in use" if native.library() is not None else f"not in use: {native.problem()}",
        "float32_gflops": _product_rate(torch.float32),
        "bfloat16_gflops": _product_rate(torch.bfloat16),
        "faster_precision": f"{precision}, {ratio:.2f} times the other for a training step of a 2 x 256 LSTM",
        "lstm_2x256_characters_per_second": config.lanes * config.unroll / seconds,
        "free_disk_gb": shutil.disk_usage(Path.cwd()).free / 1e9,
        "folder_writable": os.access(Path.cwd(), os.W_OK),
        "temporary_folder": tempfile.gettempdir(),
        "terminal": "yes" if sys.stdout.isatty() else "no: plain lines instead of a live display",
    }
    return found


def _product_rate(dtype: object) -> float:
    """Return billions of operations per second of a square matrix product."""
    import torch

    assert isinstance(dtype, torch.dtype)
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype) for _ in range(2))
    for _ in range(2):
        a @ b
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < PRODUCT_SECONDS:
        a @ b
        count += 1
    return 2 * PRODUCT_SIZE**3 * count / (time.perf_counter() - start) / 1e9


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
