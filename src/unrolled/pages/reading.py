"""Read a page back: out of its HTML come the run's configuration, vocabulary, weights and logs, as a run folder.

Knows nothing about browsers, and executes nothing: it looks for two blocks, decodes base64 and JSON strictly, and
believes neither before their hashes, names and shapes fit. A page may come from anybody.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from unrolled.errors import RunError, UnrolledError
from unrolled.pages.builder import seal_of
from unrolled.pages.contents import FORMAT
from unrolled.text.vocabulary import Vocabulary
from unrolled.training import durable
from unrolled.training.checkpoint import decode_tensors, encode_tensors
from unrolled.training.run_config import RunConfig

MAX_PAGE_BYTES = 1 << 28
_BLOCK = re.compile(rb"<script\b([^<>]*)>([^<]*)</script\s*>")
_ATTRIBUTE = re.compile(rb"\b(id|type)\s*=\s*[\"']([^\"'<>]*)[\"']")
_TYPES = {b"data": b"application/json", b"weights": b"application/octet-stream;base64"}
_LOOK_ONLY = ("sample", "temperature")
"""What a look of the page tells about what the model wrote: it stands in the run's other log."""


@dataclass(frozen=True, eq=False)
class PageContents:
    """What a page holds: its data, and the run in it, checked; `weights` are float32, rounded to float16 before."""

    data: dict[str, Any]
    config: dict[str, Any]
    vocabulary: dict[str, Any]
    weights: dict[str, Tensor]

    @property
    def title(self) -> str:
        """The run's name, as the page gives it."""
        return str(self.data.get("title", ""))


def read_page(path: Path | str) -> PageContents:
    """Read a page that `unrolled neurons RUN --page` wrote.

    Raises RunError: it is another page, truncated, damaged, too large, from a newer version, or its weights do not
    belong to its configuration.
    """
    path = Path(path)
    with durable.looking_at(path):
        if not path.exists():
            _refuse("a page that unrolled wrote", f"{path}, which does not exist", "check the name")
    blocks = _blocks(durable.read_bytes(path, limit=MAX_PAGE_BYTES), path)
    if len(blocks[b"data"]) > durable.MAX_JSON_BYTES:
        _refuse(f"at most {durable.MAX_JSON_BYTES:,} bytes of data in {path}", f"{len(blocks[b'data']):,}")
    try:
        data = durable.parse_json(blocks[b"data"], path)
    except RunError as error:
        _refuse(error.expected, error.received)
    _check_format(data, path)
    weights = _decoded(blocks[b"weights"], data, path)
    try:
        tensors = _checked(data, decode_tensors(weights, path), path)
    except UnrolledError as error:
        # What is wrong inside a page is told as what it is, but nobody can restore one file of it.
        _refuse(error.expected, error.received)
    return PageContents(data, data["run"], data["vocabulary"], tensors)


def write_run(page: PageContents, path: Path | str) -> Path:
    """Make the run folder of a page: configuration, vocabulary, weights, and what the page knows of its training.

    It appears whole or not at all. Raises RunError when the folder is a run or holds something else, TrainingError when
    the disk refuses.
    """
    path = Path(path)
    with durable.looking_at(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                expected=f"a new or empty folder at {path}",
                received="a folder with other files" if path.is_dir() else "a file",
                remedy="choose another --run",
            )
    metrics, samples = _logs(page.data)
    durable.make_folder(path.absolute().parent)
    durable.publish_folder(
        path,
        {
            "vocabulary.json": durable.encode_json(page.vocabulary, path),
            "metrics.jsonl": b"".join(durable.encode_json(one, path, indent=None) for one in metrics),
            "samples.jsonl": b"".join(durable.encode_json(one, path, indent=None) for one in samples),
            "model.safetensors": encode_tensors(page.weights, "the weights of the page"),
            "config.json": durable.encode_json(page.config, path),
        },
    )
    return path


def _blocks(html: bytes, path: Path) -> dict[bytes, bytes]:
    """Return the contents of the blocks that the page must have, exactly one of each."""
    found: dict[bytes, list[bytes]] = {name: [] for name in _TYPES}
    for block in _BLOCK.finditer(html):
        attributes = dict(_ATTRIBUTE.findall(block[1]))
        name = attributes.get(b"id", b"")
        if name in found and attributes.get(b"type") == _TYPES[name]:
            found[name].append(block[2].strip(b" \t\r\n"))
    for name, contents in found.items():
        if len(contents) != 1:
            _refuse(
                f"a whole page that unrolled wrote, with its {name.decode()}, at {path}",
                f"one with {len(contents)} such blocks" if contents else "one without, truncated or of another kind",
            )
    return {name: contents[0] for name, contents in found.items()}


def _check_format(data: Mapping[str, Any], path: Path) -> None:
    version = data.get("format")
    if type(version) is int and version > FORMAT:
        _refuse(f"a page of format {FORMAT} at {path}", f"format {version}", "install a newer unrolled")
    if (
        type(version) is not int
        or version != FORMAT
        or not isinstance(data.get("run"), dict)
        or not isinstance(data.get("vocabulary"), dict)
    ):
        _refuse(f"a page of format {FORMAT} with a run and its vocabulary at {path}", "something else")
    if data.get("seal") != seal_of(data):
        _refuse(f"the data of {path} as they were written", "edited or damaged ones")


def _decoded(block: bytes, data: Mapping[str, Any], path: Path) -> bytes:
    try:
        weights = base64.b64decode(block, validate=True)
    except ValueError as error:
        _refuse(f"weights in base64 in {path}", f"something else ({error})")
    facts = {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    if data.get("weights") != facts:
        _refuse(f"the weights of {path} as they were written", f"{len(weights):,} bytes that are not those")
    return weights


def _checked(data: Mapping[str, Any], found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the weights as float32 once configuration, vocabulary and weights fit one another."""
    config = RunConfig.from_json(data["run"])
    vocabulary = Vocabulary.from_json(data["vocabulary"])
    if data.get("model") != data["run"].get("model"):
        _refuse(f"one configuration of the model in {path}", "two different ones")
    try:
        # Shapes without memory: a page may claim a model of any size.
        with torch.device("meta"):
            wanted = {name: tuple(one.shape) for name, one in config.model.build(vocabulary.size).state_dict().items()}
    except (RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        _refuse(f"a model that can be built in {path}", f"one that cannot ({type(error).__name__})")
    for name in sorted(wanted.keys() | found.keys()):
        shape = tuple(found[name].shape) if name in found else "none"
        if shape != wanted.get(name):
            _refuse(f"weights {name} of shape {wanted.get(name, 'none')} in {path}", f"{shape}")
        if found[name].dtype not in (torch.float16, torch.float32):
            _refuse(f"weights {name} as float16 or float32 in {path}", f"{found[name].dtype}")
    return {name: found[name].to(torch.float32) for name in wanted}


def _logs(data: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the reports and the samples that the page shows; none where they are not what pages hold."""
    looks = data.get("training")
    metrics: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    for look in looks if isinstance(looks, list) else []:
        if not isinstance(look, dict) or type(look.get("step")) is not int:
            continue
        metrics.append({name: value for name, value in look.items() if name not in _LOOK_ONLY})
        if isinstance(look.get("sample"), str) and look["sample"]:
            samples.append({"step": look["step"], "temperature": look.get("temperature"), "text": look["sample"]})
    return metrics, samples


def _refuse(expected: str, received: str, remedy: str = "") -> NoReturn:
    raise RunError(
        expected=expected,
        received=received,
        remedy=remedy or "copy the page again, or write it anew: unrolled neurons RUN --page FILE.html",
    )
