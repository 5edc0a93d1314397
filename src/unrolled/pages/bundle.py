"""Put the modules of a page together: one script, one style sheet, and the skeleton that they go into.

Knows nothing about models or about what a page shows. The script is one ES module without imports: each file becomes a
function that returns what it exports, so that files keep their own names for things.
"""

import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = (
    "engine", "display", "dom", "heat", "view", "head", "recording", "plots", "reader", "cards", "search", "typing",
    "clamping", "write", "gates", "training", "method", "page",
)  # fmt: skip
"""The files of the script, each after those that it imports."""

PLACEHOLDERS = ("title", "csp", "style", "data", "weights", "kernel", "script")
"""What the skeleton leaves open, as {{title}} and so on."""

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:const|function\*?|class) (\w+)|^export ", re.MULTILINE)


def script() -> str:
    """Return the script of a page: one ES module, nothing to import."""
    return "\n".join(_wrapped(name, (FOLDER / f"{name}.js").read_text(encoding="utf-8")) for name in MODULES)


def style() -> str:
    """Return the style sheet of a page."""
    return (FOLDER / "page.css").read_text(encoding="utf-8")


def skeleton() -> str:
    """Return the page's HTML with PLACEHOLDERS to fill in."""
    return (FOLDER / "page.html").read_text(encoding="utf-8")


def filled(parts: Mapping[str, str]) -> str:
    """Return the skeleton with each placeholder replaced once, whatever the parts contain; they must be escaped.

    KeyError when a part is missing.
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], skeleton())


def _wrapped(name: str, source: str) -> str:
    """One file as `const name_js = (() => { ... })();` in the place of its imports and exports."""
    exports = ", ".join(found[1] for found in _EXPORT.finditer(source))
    body = _IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = {found[2]}_js;", source)
    body = re.sub(r"^export ", "", body, flags=re.MULTILINE)
    return f"const {name}_js = (() => {{\n{body}\nreturn {{ {exports} }};\n}})();\n"
