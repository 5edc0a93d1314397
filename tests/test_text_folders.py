"""Where the cache is: as the environment says, in the home, or, without one, where nobody else can put things."""

import os
import pwd
import tempfile

import pytest

from unrolled.errors import TextError
from unrolled.folders import cache_folder, temporary_folder
from unrolled.text.corpus import read_corpus


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user as `docker run -u 12345` makes one, and the temporary folder."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("UNROLLED_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"unrolled-{os.getuid()}"


def test_the_environment_decides_then_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("UNROLLED_CACHE")
    assert cache_folder() == tmp_path / "unrolled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "unrolled"


def test_a_user_without_a_home_has_a_cache(homeless, tmp_path):
    assert cache_folder() == cache_folder() == homeless
    assert homeless.stat().st_mode & 0o777 == 0o700
    (tmp_path / "t").write_text("some text\n" * 50)
    assert read_corpus(tmp_path / "t").notes == ()
    assert len(list(homeless.iterdir())) == 1


@pytest.mark.parametrize("trap", ["file", "link", "open to all", "someone else's"])
def test_a_folder_that_others_could_fill_is_not_used(homeless, tmp_path, monkeypatch, trap):
    if trap == "file":
        homeless.write_text("")
    elif trap == "link":
        (tmp_path / "theirs").mkdir()
        homeless.symlink_to(tmp_path / "theirs")
    elif trap == "open to all":
        homeless.mkdir()
        homeless.chmod(0o777)
    else:
        user = os.getuid() + 1
        homeless = tmp_path / f"unrolled-{user}"
        homeless.mkdir()
        monkeypatch.setattr(os, "getuid", lambda: user)
    found = cache_folder()
    assert found == cache_folder() != homeless
    assert found.parent == tmp_path and found.stat().st_mode & 0o777 == 0o700


def test_without_room_whoever_writes_says_so(homeless, tmp_path, monkeypatch):
    (tmp_path / "t").write_text("some text\n" * 50)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(TextError, match="UNROLLED_CACHE"):
        read_corpus(tmp_path / "t")


def test_temporary_folders_are_private_and_new():
    one, other = temporary_folder(), temporary_folder()
    assert one != other and one.stat().st_mode & 0o777 == 0o700
