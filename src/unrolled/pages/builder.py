"""Build the page: one HTML file that holds its data, the model's weights, and a policy that lets nothing else in.

Knows nothing about models: it is handed JSON values and bytes (contents.py, weights.py) and a skeleton (bundle.py).

The policy allows the one script and the one style sheet by their hashes, and no request at all. Data stand in blocks
that browsers do not execute, without a single "<": nothing that a text or a model contains can end its block. The data
carry a hash of themselves and of the weights, so that a damaged page is refused by whoever reads it back.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path

from unrolled.pages import bundle
from unrolled.text.display import visible_line
from unrolled.training.durable import write_bytes_durably

KERNEL = Path(__file__).parent / "kernel.wasm"


def build_page(data: Mapping[str, object], weights: bytes) -> str:
    """Return the page of what `contents.page_data` told and `weights.float16_weights` wrote."""
    parts = {
        "title": html.escape(visible_line(str(data.get("title", "")))),
        "style": _plain_lines(bundle.style()),
        "script": _plain_lines(bundle.script()),
        "data": as_block(sealed(data, weights)),
        "weights": base64.b64encode(weights).decode("ascii"),
        "kernel": base64.b64encode(KERNEL.read_bytes()).decode("ascii"),
    }
    return bundle.filled({**parts, "csp": html.escape(policy(bundle.skeleton(), parts["script"], parts["style"]))})


def write_page(path: Path, data: Mapping[str, object], weights: bytes) -> None:
    """Write the page to a file, wholly or not at all. Raises TrainingError when the disk refuses."""
    write_bytes_durably(path, build_page(data, weights).encode("utf-8"))


def policy(skeleton: str, script: str, style: str) -> str:
    """Return the content-security policy under which the page runs: its own script and style, nothing from anywhere."""
    script_hash, style_hash = _hash(skeleton, "script", script), _hash(skeleton, "style", style)
    return (
        f"default-src 'none'; script-src '{script_hash}' 'wasm-unsafe-eval'; style-src '{style_hash}';"
        " base-uri 'none'; form-action 'none'"
    )


def sealed(data: Mapping[str, object], weights: bytes) -> dict[str, object]:
    """Return the data with the size and the hash of the weights, and with a hash of all that, `seal`."""
    facts = {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    content = {**{name: value for name, value in data.items() if name != "seal"}, "weights": facts}
    return {**content, "seal": seal_of(content)}


def seal_of(data: Mapping[str, object]) -> str:
    """Return the hash of page data, whatever the order of their names; a `seal` among them is not counted."""
    content = {name: value for name, value in data.items() if name != "seal"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def as_block(data: Mapping[str, object]) -> str:
    r"""Return data as JSON in ASCII with every "<" as \u003c, so that no text in it can end its block."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(skeleton: str, name: str, text: str) -> str:
    """Return the hash of what a browser will find in the element around a placeholder."""
    around = re.search(rf"<{name}\b[^>]*>([^<>]*)\{{\{{{name}\}}\}}([^<>]*)</{name}>", skeleton)
    before, after = around.groups() if around else ("", "")
    digest = hashlib.sha256(f"{before}{text}{after}".encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _plain_lines(text: str) -> str:
    # Browsers read every line end as a newline before they hash.
    return text.replace("\r\n", "\n").replace("\r", "\n")
