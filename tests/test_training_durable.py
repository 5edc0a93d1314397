"""Durable files and strict JSON; also the fault-injecting and crash-enumerating systems that other tests use."""

import errno
import itertools
import json
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import RunError, TrainingError, UnrolledError
from unrolled.training import durable

HERE = Path("somewhere.json")


class Unsynced(durable.System):
    """The real system, but quick: tests do not lose power."""

    def fsync(self, descriptor: int) -> None:
        os.fstat(descriptor)


class Faulty(Unsynced):
    """Fails the k-th call (k from 1), once or from then on; a close that fails has closed, as on Linux."""

    def __init__(self, k: int, code: int, *, forever: bool) -> None:
        self.k, self.code, self.forever, self.calls = k, code, forever, 0

    @property
    def struck(self) -> bool:
        return self.calls >= self.k

    def _call(self, name: str, *arguments):
        self.calls += 1
        if self.calls == self.k or (self.forever and self.struck):
            if name == "close":
                super().close(*arguments)
            if name == "write" and len(arguments[1]) > 1:
                super().write(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise OSError(self.code, os.strerror(self.code))
        return getattr(super(), name)(*arguments)


for _name in ("open", "write", "truncate", "fsync", "close", "rename", "unlink", "make_folder", "remove_folder"):
    setattr(Faulty, _name, lambda self, *arguments, _name=_name: self._call(_name, *arguments))


class FileNode:
    def __init__(self, data: bytes = b"", *, durable: bool = False) -> None:
        self.data = data
        self.synced = data if durable else b""

    def after_crash(self, fate: str) -> bytes:
        if self.data == self.synced or fate == "written":
            return self.data
        if fate == "lost":
            return self.synced
        same = len(self.synced) if self.data.startswith(self.synced) else 0
        middle = (same + len(self.data)) // 2
        return self.data[:middle] + (b"\0" * (len(self.data) - middle) if fate == "zeros" else b"")


class FolderNode:
    def __init__(self) -> None:
        self.entries: dict[str, FileNode | FolderNode] = {}
        self.synced: dict[str, FileNode | FolderNode] = {}
        self.pending: list[list[tuple[str, FileNode | FolderNode | None]]] = []

    def change(self, *changes: tuple[str, "FileNode | FolderNode | None"]) -> None:
        apply(self.entries, changes)
        self.pending.append(list(changes))

    def sync(self) -> None:
        self.synced, self.pending = dict(self.entries), []

    def after_crash(self, fate: str) -> Iterator[tuple[tuple[str, object], ...]]:
        """Any number of the changes since the last fsync of this folder may have reached the disk, in their order."""
        for reached in range(len(self.pending) + 1):
            entries = dict(self.synced)
            for changes in self.pending[:reached]:
                apply(entries, changes)
            names = sorted(entries)
            choices = [
                list(node.after_crash(fate)) if isinstance(node, FolderNode) else [node.after_crash(fate)]
                for node in map(entries.__getitem__, names)
            ]
            for choice in itertools.product(*choices):
                yield tuple(zip(names, choice, strict=True))


def apply(entries: dict, changes) -> None:
    for name, node in changes:
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Recorder(Unsynced):
    """Follows every call in a model of the disk and collects the states that a power loss then could leave.

    `states` maps each state to what `promised()` said at the last moment at which it could be found.
    """

    def __init__(self, root: Path, promised: Callable[[], object]) -> None:
        self.root, self.promised = root, promised
        self.tree = self._scan(root)
        self.descriptors: dict[int, tuple[FileNode | FolderNode, list[int]]] = {}
        self.states: dict[tuple, object] = {}
        self.trace: list[str] = []

    def _scan(self, path: Path) -> FolderNode:
        node = FolderNode()
        for child in path.iterdir():
            node.entries[child.name] = (
                self._scan(child) if child.is_dir() else FileNode(child.read_bytes(), durable=True)
            )
        node.sync()
        return node

    def _find(self, path: Path) -> FileNode | FolderNode:
        node: FileNode | FolderNode = self.tree
        for part in path.relative_to(self.root).parts:
            node = node.entries[part]
        return node

    def _done(self, call: str) -> None:
        self.trace.append(call)
        for fate in ("written", "lost", "torn", "zeros"):
            for state in self.tree.after_crash(fate):
                self.states[state] = self.promised()

    def open(self, path: Path, flags: int) -> int:
        new = not path.exists()
        descriptor = super().open(path, flags)
        if new:
            self._find(path.parent).change((path.name, FileNode()))
        self.descriptors[descriptor] = (self._find(path), [0])
        self._done("open")
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        node, _ = self.descriptors[descriptor]
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        count = super().write(descriptor, data)
        node.data = node.data[:at] + bytes(data[:count])
        self._done("write")
        return count

    def truncate(self, descriptor: int, size: int) -> None:
        super().truncate(descriptor, size)
        node, _ = self.descriptors[descriptor]
        node.data = node.data[:size]
        self._done("truncate")

    def fsync(self, descriptor: int) -> None:
        node, _ = self.descriptors[descriptor]
        if isinstance(node, FolderNode):
            node.sync()
        else:
            node.synced = node.data
        self._done("fsync")

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        del self.descriptors[descriptor]

    def rename(self, source: Path, target: Path) -> None:
        assert source.parent == target.parent, "a rename between folders needs two fsyncs"
        super().rename(source, target)
        self._find(source.parent).change((source.name, None), (target.name, self._find(source)))
        self._done("rename")

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._find(path.parent).change((path.name, None))
        self._done("unlink")

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._find(path.parent).change((path.name, FolderNode()))
        self._done("make_folder")

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self._find(path.parent).change((path.name, None))
        self._done("remove_folder")


def materialise(state: tuple, path: Path) -> Path:
    path.mkdir()
    for name, content in state:
        if isinstance(content, bytes):
            (path / name).write_bytes(content)
        else:
            materialise(content, path / name)
    return path


def each_fault(codes=(errno.ENOSPC, errno.EIO, errno.EROFS)) -> Iterator[Faulty]:
    """Systems that fail the k-th call for k = 1, 2, ... until the caller's work needs fewer than k calls."""
    for code, forever in itertools.product(codes, (False, True)):
        for k in itertools.count(1):
            system = Faulty(k, code, forever=forever)
            yield system
            assert system.calls, "the work did not go through the seam"
            if not system.struck:
                break


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_one_line(error: BaseException) -> None:
    assert str(error).isprintable()
    assert "expected" in str(error)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(durable, "system", Unsynced())


def test_a_file_is_replaced_and_nothing_else_remains(tmp_path):
    path = tmp_path / "a.json"
    durable.write_json(path, {"a": 1})
    durable.write_json(path, {"a": 2.5, "b": ["é\x1b\u202e", None, True]})
    assert durable.read_json(path) == {"a": 2.5, "b": ["é\x1b\u202e", None, True]}
    assert path.read_bytes().isascii()
    assert names(tmp_path) == ["a.json"]


def test_new_files_and_folders_respect_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        durable.write_bytes_durably(tmp_path / "file", b"x")
        durable.publish_folder(tmp_path / "folder", {"a": b"1"})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


@pytest.mark.parametrize("old", [None, b"old"])
def test_any_failing_call_leaves_the_old_or_the_new_file(tmp_path, monkeypatch, old):
    for system in each_fault():
        folder = tmp_path / f"{system.k}-{system.code}-{system.forever}"
        folder.mkdir()
        path = folder / "file"
        if old is not None:
            path.write_bytes(old)
        monkeypatch.setattr(durable, "system", system)
        failed = False
        try:
            durable.write_bytes_durably(path, b"new content")
        except TrainingError as error:
            assert_one_line(error)
            assert errno.errorcode[system.code] in str(error)
            failed = True
        content = path.read_bytes() if path.exists() else None
        assert content in ((old, b"new content") if failed else (b"new content",))
        if not system.forever:
            assert set(names(folder)) <= {"file"}


def test_a_failed_fsync_means_a_new_file(tmp_path, monkeypatch):
    class FirstFsyncFails(Unsynced):
        opened, synced = 0, 0

        def open(self, path, flags):
            self.opened += flags & os.O_EXCL != 0
            return super().open(path, flags)

        def fsync(self, descriptor):
            self.synced += 1
            if self.synced == 1:
                raise OSError(errno.EIO, "fsync")

    monkeypatch.setattr(durable, "system", system := FirstFsyncFails())
    durable.write_bytes_durably(tmp_path / "a", b"x")
    assert system.opened == 2
    system.synced = 0
    durable.append_json_line(tmp_path / "log", {"a": 1})
    assert durable.read_json_lines(tmp_path / "log") == [{"a": 1}]
    assert system.opened == 3


def test_any_failing_call_leaves_a_log_with_its_whole_lines(tmp_path, monkeypatch):
    for torn, system in ((torn, system) for torn in (b"", b'{"a": 9') for system in each_fault()):
        path = tmp_path / f"{system.k}-{system.code}-{system.forever}-{len(torn)}"
        path.write_bytes(b'{"a": 1}\n' + torn)
        monkeypatch.setattr(durable, "system", system)
        failed = False
        try:
            durable.append_json_line(path, {"a": 2})
        except TrainingError as error:
            assert_one_line(error)
            failed = True
        lines = durable.read_json_lines(path)
        assert lines in (([{"a": 1}], [{"a": 1}, {"a": 2}]) if failed else ([{"a": 1}, {"a": 2}],))
        monkeypatch.setattr(durable, "system", Unsynced())
        durable.append_json_line(path, {"a": 3})
        assert durable.read_json_lines(path) == [*lines, {"a": 3}]
        assert durable.read_last_json_line(path) == {"a": 3}


def test_a_log_may_end_anywhere_after_a_crash(tmp_path):
    path = tmp_path / "log"
    whole = b'{"a": 1}\n{"a": 22}\n'
    for size, zeros in itertools.product(range(len(whole) + 1), (0, 3)):
        path.write_bytes(whole[:size] + b"\0" * zeros)
        durable.append_json_line(path, {"b": 1})
        kept = [{"a": 1}, {"a": 22}][: whole[:size].count(b"\n")]
        assert durable.read_json_lines(path) == [*kept, {"b": 1}]


def test_only_the_last_line_may_be_torn(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b'{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(RunError) as caught:
        durable.read_json_lines(path)
    assert_one_line(caught.value)
    path.write_bytes(b'{"a": 1}\n{"a": 2}}\n')
    with pytest.raises(RunError):
        durable.read_json_lines(path)


@pytest.mark.parametrize("size", [10, 70_000, 200_000])
def test_the_end_of_a_log_with_long_lines_is_found(tmp_path, size):
    path = tmp_path / "log"
    assert durable.read_last_json_line(path) is None
    for k in range(3):
        durable.append_json_line(path, {"k": k, "text": "x" * size})
    assert durable.read_last_json_line(path) == {"k": 2, "text": "x" * size}
    path.write_bytes(path.read_bytes()[:-1])
    assert durable.read_last_json_line(path)["k"] == 1
    durable.append_json_line(path, {"k": 3})
    assert [line["k"] for line in durable.read_json_lines(path)] == [0, 1, 3]


def test_unwanted_lines_go_and_the_others_keep_their_bytes(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b'{"step":1 }\n{"step": 2}\n{"st')
    durable.keep_json_lines(path, lambda line: line["step"] < 2)
    assert path.read_bytes() == b'{"step":1 }\n'
    durable.keep_json_lines(tmp_path / "none", lambda line: False)
    assert names(tmp_path) == ["log"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    for system in each_fault():
        base = tmp_path / f"{system.k}-{system.code}-{system.forever}"
        base.mkdir()
        monkeypatch.setattr(durable, "system", system)
        failed = False
        try:
            durable.publish_folder(base / "final", {"a": b"1", "b": b"2"})
        except TrainingError as error:
            assert_one_line(error)
            failed = True
        assert failed or (base / "final").exists()
        if (base / "final").exists():
            assert {path.name: path.read_bytes() for path in (base / "final").iterdir()} == {"a": b"1", "b": b"2"}
        if not system.forever:
            assert set(names(base)) <= {"final"}
        monkeypatch.setattr(durable, "system", Unsynced())
        durable.remove_leftovers(base)
        assert set(names(base)) <= {"final"}


def test_a_folder_with_files_is_never_replaced(tmp_path):
    durable.publish_folder(tmp_path / "final", {"a": b"old"})
    with pytest.raises(TrainingError):
        durable.publish_folder(tmp_path / "final", {"a": b"new"})
    assert (tmp_path / "final" / "a").read_bytes() == b"old"
    durable.move_folder(tmp_path / "final", tmp_path / "other")
    durable.remove_folder(tmp_path / "other")
    assert names(tmp_path) == []


def test_folders_above_are_made(tmp_path):
    durable.make_folder(tmp_path / "a" / "b" / "c")
    durable.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_leftovers_are_only_our_temporaries(tmp_path):
    for name in (".gitignore", "x.tmp", ".x.tmp", ".model.safetensors.12-3.tmp"):
        (tmp_path / name).write_bytes(b"")
    durable.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".gitignore", ".x.tmp", "x.tmp"]


def test_a_real_limit_on_file_sizes_is_one_line(tmp_path):
    path = tmp_path / "file"
    durable.write_bytes_durably(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(TrainingError) as caught:
            durable.write_bytes_durably(path, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "ulimit" in str(caught.value)
    assert (names(tmp_path), path.read_bytes()) == (["file"], b"old")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b'"a"',
        b"null",
        b'{"a": 1, "a": 1}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": [1}',
        b'{"a": 1} {}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"9" * 10_000 + b"}",
        b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"a":' * 50_000,
        b"[" * 500_000,
    ],
)
def test_json_that_is_not_strict_is_refused_in_one_line(data):
    with pytest.raises(RunError) as caught:
        durable.parse_json(data, HERE)
    assert_one_line(caught.value)
    assert len(str(caught.value)) < 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5))
def test_json_comes_back_as_it_was(value):
    for indent in (None, 2):
        data = durable.encode_json(value, HERE, indent=indent)
        assert durable.parse_json(data, HERE) == value
        assert data.decode("ascii").replace("\n", "").isprintable()


@given(st.binary())
def test_any_bytes_are_read_or_refused(data):
    try:
        assert durable.parse_json(data, HERE) == json.loads(data)
    except RunError as error:
        assert_one_line(error)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": [float("inf")]}, {"a": {1: 0, "1": 0}}])
def test_json_that_could_not_be_read_back_is_not_written(tmp_path, value):
    with pytest.raises(UnrolledError):
        durable.write_json(tmp_path / "a", value)
    with pytest.raises(UnrolledError):
        durable.append_json_line(tmp_path / "a", value)
    assert names(tmp_path) == []


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "none", Path("/dev/zero"), tmp_path / ("x" * 300)):
        with pytest.raises(RunError) as caught:
            durable.read_bytes(path)
        assert_one_line(caught.value)
    with pytest.raises(UnrolledError):
        durable.append_json_line(tmp_path / "fifo", {})


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(durable.MAX_JSON_BYTES + 1)
    with pytest.raises(RunError, match="at most"):
        durable.read_json(tmp_path / "big")
