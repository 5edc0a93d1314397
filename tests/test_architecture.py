"""The house rules, read off the source: who may import whom, how long things are, what never stands in it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unrolled

ROOT = Path(unrolled.__file__).parent
MODULES = {
    ".".join(("unrolled", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
FAMILY = ("rnn", "gru", "lstm", "mingru", "tcn", "wavenet", "transformer", "stackrnn", "tapernn", "window", "circuit")
CONTRACT = "models.sequence_model"
SHARED = ("models.recurrent", "models.convolution", "models.controller")
BOTTOM = ("errors", "folders")
TRAINING = (
    "training.allocator",
    "training.config",
    "training.calibration",
    "training.evaluation",
    "training.events",
    "training.durable",
    "training.checkpoint",
    "training.optimizer",
    "training.reports",
    "training.structure",
)
SYMBOLIC = tuple(
    f"programs.{name}"
    for name in (
        *("words", "source", "faults", "turing", "rule_text", "machine_text", "library"),
        *("program", "drafting", "lowering", "lowering_tape", "stream", "counting", "units", "circuit"),
        *("tasks_common", "tasks_memory", "tasks_regular", "tasks_strings", "tasks", "table_cells", "heat"),
    )
)
"""Machines, circuits and tasks as plain values: the standard library is enough."""

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # module or package: what it may import from unrolled; a package name stands for all that is inside
    "errors": (),
    "folders": (),  # where things live: any row but `errors` may ask
    "text": ("errors", "text"),
    "kernels": ("errors", "kernels"),
    "models.sequence_model": ("errors",),
    "models.stack": ("errors", "kernels", CONTRACT),
    "models.recurrent": ("errors", "kernels", CONTRACT),
    "models.convolution": ("errors",),
    "models.controller": (CONTRACT,),
    **{f"models.{name}": ("errors", "kernels", CONTRACT, *SHARED) for name in FAMILY},
    "models.families": (CONTRACT, *(f"models.{name}" for name in FAMILY)),
    "models.config": ("errors", CONTRACT, "models.stack", "models.families"),
    "models": ("models",),
    "sampling": ("errors", "text", CONTRACT),
    "neurons": ("errors", "text", "sampling", CONTRACT, "training", "neurons"),
    "neurons.findings": (),
    "neurons.features": ("neurons",),
    "neurons.feature_files": ("errors", "neurons"),
    "contest": ("errors", "contest"),
    "pages": ("", "errors", "text", "models", "sampling", "training", "laboratory", "neurons", "pages"),
    "training.evaluation": ("errors", "text", "sampling", CONTRACT),
    "training.calibration": (CONTRACT, "models.stack", "training.evaluation"),
    "training.optimizer": ("errors", "training.config"),
    "training.allocator": (),
    "training.config": ("errors",),
    "training.events": ("training.evaluation",),
    "training.reports": ("training.events",),
    "training.durable": ("errors",),
    "training.checkpoint": ("errors", "training.durable"),
    "training.structure": ("errors", "text"),
    "training.snapshots": ("errors", "training.durable", "training.checkpoint"),
    "training.run_folder": ("errors", "training.durable", "training.checkpoint", "training.snapshots"),
    "training.loop": ("errors", "text", "sampling", CONTRACT, *TRAINING, "training.run_folder"),
    "training.measure": ("", "errors", "text", "kernels", "models", "training.config", "training.loop"),
    "training.recipe": ("errors", "text", "models", "training.allocator", "training.config", "training.measure"),
    "training": ("", "errors", "text", "contest", "kernels", "models", "sampling", "training"),
    "laboratory": ("errors", "text", "models", "sampling", "training"),
    **dict.fromkeys(SYMBOLIC, ("errors", *SYMBOLIC)),
    "programs": ("", "errors", "text", "models", "sampling", "training", "laboratory", "programs"),
    "inspection": ("errors", "text", "models", "sampling", "training", "neurons", "pages", "laboratory"),
    "benchmarks": ("errors", "text", "models", "sampling", "training", "benchmarks"),
    "public": ("errors", "text", "models", "sampling", "training", "neurons", "laboratory", "inspection"),
    "cli": (
        "",
        "errors",
        "text",
        "models",
        "sampling",
        "training",
        "laboratory",
        "contest",
        "benchmarks",
        "neurons",
        "pages",
        "inspection",
        "programs",
        "cli",
        "kernels",
    ),
    "__main__": ("cli",),
    "": ("public",),
}
EVERY_MODULE = pytest.mark.parametrize("module", MODULES)


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(module: str) -> set[str]:
    """The modules of unrolled that a module imports anywhere, inside functions and for types too; "" is the package."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module or ""
                for alias in node.names
            ]
        else:
            continue
        found |= {name for name in names if name.split(".")[0] == "unrolled"}
    return {name.removeprefix("unrolled").removeprefix(".") for name in found}


def rule_of(module: str) -> str:
    """The longest name in the table that the module is or is inside of."""
    name = module.removeprefix("unrolled").removeprefix(".")
    fitting = [rule for rule in MAY_IMPORT if rule == name or (rule and name.startswith(f"{rule}."))]
    assert fitting, f"{module} has no row in the table of imports: which row of the house is it?"
    return max(fitting, key=len)


@EVERY_MODULE
def test_imports_follow_the_table(module):
    rule = rule_of(module)
    allowed = MAY_IMPORT[rule] if rule in BOTTOM else (*MAY_IMPORT[rule], "folders")
    for name in imported(module):
        inside = any(name == row or (row and name.startswith(f"{row}.")) for row in allowed)
        assert inside, f"{module} may not import unrolled.{name}; it may import {', '.join(allowed) or 'nothing'}"


@pytest.mark.parametrize("name", BOTTOM)
def test_the_bottom_row_stands_on_the_standard_library_alone(name):
    for node in ast.walk(tree(f"unrolled.{name}")):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert all(found.split(".")[0] in sys.stdlib_module_names for found in names), names


@pytest.mark.parametrize("name", SYMBOLIC)
def test_machines_need_nothing_but_the_standard_library(name):
    for node in ast.walk(tree(f"unrolled.{name}")):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert all(found.split(".")[0] in {"unrolled", *sys.stdlib_module_names} for found in names), names


@EVERY_MODULE
def test_nothing_but_the_command_line_imports_the_command_line(module):
    if not module.startswith("unrolled.cli") and module != "unrolled.__main__":
        assert not any(name.split(".")[0] == "cli" for name in imported(module))


def test_the_table_names_what_exists():
    for rule in MAY_IMPORT:
        assert f"unrolled.{rule}".removesuffix(".") in MODULES, rule
    assert set(FAMILY) == set(_built_in_families())


def _built_in_families() -> list[str]:
    """The keys of FAMILIES as they are written (tests add families of their own)."""
    (assignment,) = (node for node in ast.walk(tree("unrolled.models.families")) if isinstance(node, ast.AnnAssign))
    return [ast.literal_eval(key) for key in assignment.value.keys]


ARGUMENTS = 7
VERB_ARGUMENTS = 12
"""A verb of the command line is called by a person, by name: each argument is an option of its help page."""


def _verbs(module: str) -> set[str]:
    """The functions of a module in cli/ that are verbs: cli/__init__.py lists them."""
    if not module.startswith("unrolled.cli."):
        return set()
    calls = [node for node in ast.walk(tree("unrolled.cli")) if isinstance(node, ast.Call)]
    return {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "Verb"}


def test_the_verbs_are_found():
    assert {"demo", "train", "sample", "score", "bench"} <= _verbs("unrolled.cli.sample")
    assert not _verbs("unrolled.cli") | _verbs("unrolled.training.loop")


@EVERY_MODULE
def test_sizes(module):
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{module} has {lines} lines"
    verbs = _verbs(module)
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = node.body[0] if ast.get_docstring(node) else None
            length = node.end_lineno - node.lineno + 1
            if documented:  # the help of a command is its docstring
                length -= documented.end_lineno - documented.lineno + 1
            given = node.args
            arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            count = len([a for a in arguments if a.arg not in ("self", "cls")])
            assert length <= 60, f"{module}.{node.name} has {length} lines"
            cap = VERB_ARGUMENTS if node.name in verbs else ARGUMENTS
            assert count <= cap, f"{module}.{node.name} has {count} arguments"


@EVERY_MODULE
def test_every_module_says_what_it_is_and_what_it_knows_nothing_about(module):
    found = tree(module)
    if not found.body:
        return
    docstring = ast.get_docstring(found)
    assert docstring, f"{module} has no docstring"
    first = docstring.splitlines()[0]
    assert first.endswith((".", ":")), f"{module}: one line that says the job"
    assert module == "unrolled" or re.search(r"\b[Kk]nows\s+nothing\b", docstring), f"{module} knows everything?"


FORBIDDEN = {
    r"\bpickle\b": "nothing is ever unpickled",
    r"\btorch\.load\(": "nothing is ever unpickled",
    r"\btorch\.save\(": "nothing is ever pickled",
    r"\b(cloudpickle|dill|shelve|marshal)\b": "nothing is ever unpickled",
    r"\bregister_\w*(forward|backward)\w*hook": "taps are arguments",
    r"shell\s*=\s*True": "no shell",
    r"\bos\.system\(": "no shell",
    r"(?<![.\w])(eval|exec)\(": "no code from data",
    r"\b(TODO|FIXME|XXX|HACK)\b": "finish it or write an issue",
    r"isinstance\(\s*(self\.)?(model|layer|branch)\b": "the contract is enough",
    r"\bhasattr\(": "the contract is enough",
}


@EVERY_MODULE
def test_forbidden_words(module):
    code = "\n".join(_without_docstrings(MODULES[module].read_text(encoding="utf-8")))
    for pattern, why in FORBIDDEN.items():
        found = re.search(pattern, code)
        assert not found, f"{module}: {found[0]!r} ({why})"


def _without_docstrings(source: str) -> list[str]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number in range(node.lineno - 1, node.end_lineno):
                lines[number] = ""
    return lines


@EVERY_MODULE
def test_no_branch_by_family_name(module):
    """`if family == "lstm"` is how a second list of families begins."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Compare):
            for part in (node.left, *node.comparators):
                assert not (isinstance(part, ast.Constant) and part.value in FAMILY), f"{module}:{node.lineno}"


@pytest.mark.parametrize(
    "statement",
    [
        "import unrolled",
        "import unrolled.cli",
        "import unrolled.text.corpus, unrolled.text.lanes, unrolled.text.display, unrolled.text.builtin",
        "import unrolled.errors",
        "import unrolled.training.run_folder",
        "import unrolled; unrolled.__version__, dir(unrolled)",
    ],
)
def test_what_must_start_fast_does_not_import_torch(statement):
    script = f"{statement}\nimport sys\nprint([name for name in ('torch', 'safetensors.torch') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.stdout.strip(), found.stderr) == ("[]", "")


def test_public_names_are_sorted_complete_and_there():
    from unrolled import public

    def order(name):
        return name[0].islower(), name.isupper() is False, name

    assert unrolled.__all__ == public.__all__
    assert unrolled.__all__ == sorted(set(unrolled.__all__), key=order)
    assert dir(unrolled) == sorted(unrolled.__all__)
    for name in unrolled.__all__:
        assert getattr(unrolled, name) is getattr(public, name)
    imported_there = {
        alias.asname or alias.name
        for node in ast.walk(tree("unrolled.public"))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported_there == set(unrolled.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        unrolled.nonsense  # noqa: B018


def test_types_are_shipped():
    assert (ROOT / "py.typed").is_file()
