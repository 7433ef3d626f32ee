"""Files are whole or not there, whatever happens while they are written; and places are refused
where they cannot be.
"""

import errno
import itertools
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from disthead import files
from disthead.files import DiskFull, appending, check_file, check_folder, writing, writing_folder
from tests.reliability.attack import no_file_larger_than

OLD, NEW = b"old" * 1000, b"new" * 400_000


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write(path, text: bytes, error=None) -> None:
    with writing(path) as unfinished:
        unfinished.write_bytes(text)
        if error is not None:
            raise error


def write_folder(path, texts: dict[str, bytes], error=None) -> None:
    with writing_folder(path) as unfinished:
        for name, text in texts.items():
            (unfinished / name).write_bytes(text)
        if error is not None:
            raise error


@pytest.fixture
def disk(tmp_path):
    """A function that gives a disk of so many kB, where mounting is allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int) -> Path | None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
        try:
            return place if subprocess.run(command, capture_output=True).returncode == 0 else None
        except FileNotFoundError:
            return None

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_file_appears_with_all_that_was_written(tmp_path):
    with writing(tmp_path / "file") as unfinished:
        unfinished.write_bytes(NEW)
        assert not (tmp_path / "file").exists()
    assert contents(tmp_path) == {"file": NEW}


@pytest.mark.parametrize("before", [{}, {"file": OLD}], ids=["new", "there"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_after_an_error_all_is_as_it_was(tmp_path, before, error):
    for name, text in before.items():
        (tmp_path / name).write_bytes(text)
    with pytest.raises(error):
        write(tmp_path / "file", NEW[:1000], error)
    assert contents(tmp_path) == before
    with pytest.raises(error):
        write_folder(tmp_path / "folder", {"part": NEW[:1000]}, error)
    assert contents(tmp_path) == before
    assert not (tmp_path / "folder").exists()


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os,
            name,
            lambda *given, name=name, original=original: (done.append(name), original(*given)),
        )
    with writing(tmp_path / "file") as unfinished:
        unfinished.write_bytes(NEW)
    assert done[:2] == ["fsync", "replace"]
    done.clear()
    with writing_folder(tmp_path / "folder") as unfinished:
        (unfinished / "one").write_bytes(NEW)
        (unfinished / "two").write_bytes(NEW)
    assert done[:2] == ["fsync", "fsync"]
    assert done.count("replace") == 1


@pytest.mark.parametrize("before", [{}, {"file": OLD}], ids=["new", "there"])
@pytest.mark.parametrize("size", [0, 1, 4096, len(NEW) - 1])
def test_a_full_disk_is_named_and_harms_nothing(tmp_path, before, size):
    for name, text in before.items():
        (tmp_path / name).write_bytes(text)
    kept = "unchanged" if before else "nothing is left of it"
    with (
        pytest.raises(
            DiskFull,
            match=f"{tmp_path}/file is too large .* folder {tmp_path}, .* MB free; .*{kept}",
        ),
        no_file_larger_than(size),
        writing(tmp_path / "file") as unfinished,
    ):
        unfinished.write_bytes(NEW)
    assert contents(tmp_path) == before


def test_a_library_that_calls_a_full_disk_something_else_is_corrected(tmp_path):
    def write_by_library():
        with writing(tmp_path / "file") as unfinished:
            try:
                unfinished.write_bytes(NEW)
            except OSError as error:
                raise RuntimeError("unexpected position") from error

    with pytest.raises(DiskFull, match="file is too large"), no_file_larger_than(1000):
        write_by_library()
    with pytest.raises(RuntimeError, match="of another kind"):
        write(tmp_path / "file", NEW, RuntimeError("of another kind"))
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("size", [16, 100, 1000])
def test_a_full_disk_of_its_own_is_named_and_harms_nothing(disk, size):
    place = disk(size)
    if place is None:  # the limit of the size of files has stood for it
        return
    (place / "file").write_bytes(OLD)
    with pytest.raises(
        DiskFull,
        match=r"file has no space left on its disk: folder .*, 0\.\d MB free; .* unchanged",
    ):
        write(place / "file", NEW)
    with pytest.raises(DiskFull, match="folder has no space left on its disk"):
        write_folder(place / "folder", {"one": b"1", "two": NEW})
    assert contents(place) == {"file": OLD}
    with suppress(OSError), open(place / "rest", "wb", buffering=0) as rest:
        while rest.write(bytes(1024)):
            pass
    with pytest.raises(DiskFull):
        write(place / "other", b"no room even for this" * 1000)
    assert (place / "file").read_bytes() == OLD


def test_what_is_added_to_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(OLD)

    def add():
        with appending(path), open(path, "ab") as file:
            file.write(NEW)

    with pytest.raises(DiskFull, match="unchanged"), no_file_larger_than(len(OLD) + 10):
        add()
    assert contents(tmp_path) == {"log": OLD}
    path.unlink()
    with pytest.raises(DiskFull), no_file_larger_than(10):
        add()
    assert contents(tmp_path) == {}
    with pytest.raises(RuntimeError), appending(path):
        raise RuntimeError
    add()
    assert contents(tmp_path) == {"log": NEW}


def killed_at(number: int, work) -> bool:
    """Whether a child process was killed before it came to its call of that number of a built-in
    function, in `work`.
    """
    child = os.fork()
    if child == 0:
        calls = 0

        def kill(frame, event, argument):
            nonlocal calls
            if event in ("c_call", "c_return"):
                calls += 1
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(kill)
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


every_kill = pytest.mark.parametrize("stride", [10, pytest.param(1, marks=pytest.mark.slow)])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@every_kill
@pytest.mark.parametrize("before", [{}, {"file": OLD}], ids=["new", "there"])
def test_a_process_may_be_killed_at_any_moment(tmp_path, before, stride):
    path = tmp_path / "file"

    def work():
        with writing(path) as unfinished, open(unfinished, "wb") as opened:
            for start in range(0, len(NEW), 1 << 19):
                opened.write(NEW[start : start + (1 << 19)])

    outcomes = []
    for number in itertools.count(1, stride):
        path.unlink(missing_ok=True)
        for name, text in before.items():
            (tmp_path / name).write_bytes(text)
        if not killed_at(number, work):
            break
        outcomes.append(path.read_bytes() if path.exists() else None)
        assert outcomes[-1] in (before.get("file"), NEW), number
    assert len(outcomes) * stride > 20
    assert len(set(outcomes)) == 2 or stride > 1
    assert contents(tmp_path) == {"file": NEW}, (
        "nothing that the killed processes left is there any more"
    )


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@every_kill
def test_a_process_that_writes_a_folder_may_be_killed_at_any_moment(tmp_path, stride):
    place, texts = tmp_path / "folder", {"a": OLD, "b": NEW}
    for number in itertools.count(1, stride):
        if place.exists():
            shutil.rmtree(place)
        if not killed_at(number, lambda: write_folder(place, texts)):
            break
        assert not place.exists() or contents(place) == texts, number
    assert number > 20
    assert sorted(os.listdir(tmp_path)) == ["folder"]
    assert contents(place) == texts


def in_another_process(path: str, letter: str, times: int) -> None:
    for _ in range(times):
        with writing(path) as unfinished:
            unfinished.write_text(letter * 100_000)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_processes_that_write_the_same_file_do_not_mix(tmp_path):
    path, context = tmp_path / "file", multiprocessing.get_context("fork")
    workers = [
        context.Process(target=in_another_process, args=(str(path), letter, 30)) for letter in "abc"
    ]
    for worker in workers:
        worker.start()
    seen = set()
    while any(worker.is_alive() for worker in workers):
        if path.exists():
            text = path.read_text()
            assert len(text) == 100_000
            assert len(set(text)) == 1
            seen.add(text[0])
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert seen
    assert list(contents(tmp_path)) == ["file"]


def test_the_leftovers_of_others_stay_as_long_as_they_are_used(tmp_path):
    path = tmp_path / "file"
    with writing(path) as mine:
        mine.write_bytes(OLD)
        with writing(path) as other:
            assert other != mine
            other.write_bytes(NEW)
        assert mine.exists()
        assert path.read_bytes() == NEW
    assert contents(tmp_path) == {"file": OLD}


def test_a_file_taken_for_a_leftover_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    """Another process that looks for leftovers may come between making a file and locking it."""
    taken = []
    original = files.fcntl.flock

    def flock(descriptor, operation):
        if not taken:
            taken.append(next(tmp_path.glob(".file.*")))
            taken[0].unlink()
        original(descriptor, operation)

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with writing(tmp_path / "file") as unfinished:
        assert unfinished.exists()
        assert unfinished != taken[0]
        unfinished.write_bytes(NEW)
    assert contents(tmp_path) == {"file": NEW}


@pytest.mark.parametrize(
    "error, again",
    [(BlockingIOError(errno.EAGAIN, "taken"), True), (OSError(errno.ENOLCK, "no locks"), False)],
)
def test_a_lock_that_another_process_has_is_not_that_of_a_file_system_without_locks(
    tmp_path, monkeypatch, error, again
):
    original, times = files.fcntl.flock, []

    def flock(descriptor, operation):
        times.append(descriptor)
        if len(times) == 1:
            raise error
        original(descriptor, operation)

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with writing(tmp_path / "file") as unfinished:
        unfinished.write_bytes(NEW)
    assert len(times) == (2 if again else 1)
    assert (tmp_path / "file").read_bytes() == NEW


def test_a_new_file_has_the_permissions_of_the_old_one_or_those_of_any_new_file(tmp_path):
    path, plain = tmp_path / "file", tmp_path / "plain"
    plain.write_bytes(b"")
    with writing(path) as unfinished:
        unfinished.write_bytes(OLD)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    for mode in (0o600, 0o644, 0o664, 0o400):
        path.chmod(mode)
        with writing(path) as unfinished:
            unfinished.write_bytes(NEW)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_keeps_its_owner_and_its_group_where_that_is_allowed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    if os.geteuid() == 0:  # only the superuser gives files away
        os.chown(path, 1, 1)
    owner = path.stat().st_uid, path.stat().st_gid
    with writing(path) as unfinished:
        unfinished.write_bytes(NEW)
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_a_link_is_replaced_and_not_followed(tmp_path):
    best, last = tmp_path / "best", tmp_path / "last"
    best.write_bytes(OLD)
    last.symlink_to("best")
    with writing(last) as unfinished:
        unfinished.write_bytes(NEW)
    assert not last.is_symlink()
    assert contents(tmp_path) == {"best": OLD, "last": NEW}
    last.unlink()
    last.symlink_to("nowhere")
    with writing(last) as unfinished:
        unfinished.write_bytes(NEW)
    assert contents(tmp_path) == {"best": OLD, "last": NEW}


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a b",
        "100%",
        "[x]*?",
        "ä" * 100,
        "😀" * 60,
        "x" * 250,
        "-",
        ".hidden",
        "line\nbreak",
        "a.csv.gz",
    ],
)
def test_odd_names_are_names(tmp_path, name):
    for text in (OLD, NEW):
        with writing(tmp_path / name) as unfinished:
            unfinished.write_bytes(text)
        assert contents(tmp_path) == {name: text}
    with writing_folder(tmp_path / "folder" / name) as unfinished:
        (unfinished / name).write_bytes(NEW)
    assert contents(tmp_path / "folder") == {f"{name}/{name}": NEW}


def test_paths_may_be_relative_and_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with writing("file") as unfinished:
        unfinished.write_bytes(NEW)
    for folder in (".", "inner", "./inner/", "inner/../inner", "../" + tmp_path.name):
        with writing_folder(folder) as unfinished:
            (unfinished / "part").write_bytes(NEW)
    assert contents(tmp_path) == {"file": NEW, "part": NEW, "inner/part": NEW}


def test_what_is_no_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for name, message in (
        ("folder", "it is a folder"),
        ("pipe", "not an ordinary file"),
        ("device", "not an ordinary file"),
    ):
        with pytest.raises(OSError, match=message), writing(tmp_path / name):
            pytest.fail("the block has begun")
    with pytest.raises(OSError, match="not an ordinary file"), writing("/dev/null"):
        pytest.fail("the block has begun")
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(NotADirectoryError, match="it is a file"), writing_folder(tmp_path / "file"):
        pytest.fail("the block has begun")
    with pytest.raises(
        FileNotFoundError, match=r"cannot write .*nowhere/file: No such file or directory"
    ):
        write(tmp_path / "nowhere" / "file", NEW)


def test_a_folder_that_is_there_keeps_its_other_files_and_may_be_a_disk_of_its_own(tmp_path, disk):
    place = disk(10_000) or tmp_path / "disk"
    (place / "other").write_bytes(OLD)
    (place / "part").write_bytes(OLD)
    (place / "part").chmod(0o600)
    with writing_folder(place) as unfinished:
        (unfinished / "part").write_bytes(NEW)
        (unfinished / "inner").mkdir()
        (unfinished / "inner" / "part").write_bytes(NEW)
        (unfinished / "empty").mkdir()
    assert contents(place) == {"other": OLD, "part": NEW, "inner/part": NEW}
    assert (place / "empty").is_dir()
    assert stat.S_IMODE((place / "part").stat().st_mode) == 0o600


def test_places_are_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(OLD)
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "is a folder, so the table cannot be written there"),
        (tmp_path / "pipe", "is not an ordinary file"),
        (tmp_path / "none" / "file", "there is no folder"),
    ):
        with pytest.raises(ValueError, match=f"--out {path}.*{message}"):
            check_file(path, "the table", "--out")
    for folder in (tmp_path / "file", tmp_path / "file" / "inner" / "folder"):
        with pytest.raises(ValueError, match=f"--out {folder}: {tmp_path}/file is a file"):
            check_folder(folder, "the report", "--out")
    check_file(tmp_path / "new", "the table", "--out")
    check_folder(tmp_path / "a" / "b", "the report", "--out")
    # the superuser may write everywhere, so that the system's answer is played
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for check in (check_file, check_folder):
        with pytest.raises(
            ValueError,
            match=f"--out .*the folder {tmp_path} cannot be written. Change its permissions",
        ):
            check(tmp_path / "new", "the table", "--out")


def test_a_folder_in_which_nothing_can_be_made_is_refused_before_the_work():
    """The superuser may write everywhere, by its permissions."""
    with pytest.raises(ValueError, match="--out /proc/x: the folder /proc cannot be written"):
        check_folder("/proc/x", "the report", "--out")
    with pytest.raises(ValueError, match="--out /proc/x: the folder /proc cannot be written"):
        check_file("/proc/x", "the table", "--out")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_may_not_be_overwritten_is_that_of_the_first_process_to_end(
    tmp_path, monkeypatch, has_links
):
    def link(source, place):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", link)
    path = tmp_path / "note"
    late, early = writing(path, overwrite=False), writing(path, overwrite=False)
    late.__enter__().write_bytes(NEW)
    early.__enter__().write_bytes(OLD)
    early.__exit__(None, None, None)
    with pytest.raises(FileExistsError):
        late.__exit__(None, None, None)
    assert contents(tmp_path) == {"note": OLD}


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    """As another user than the superuser, who may write everywhere."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o555)
    reading, answer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.chdir(folder)  # the folders above may be closed to others
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            else:
                os.chdir(folder)
            for attempt in (lambda: check_file("new"), lambda: writing("new").__enter__()):
                try:
                    attempt()
                except (ValueError, OSError) as error:
                    os.write(answer, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(0)
    os.close(answer)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        lines = said.read().splitlines()
    assert len(lines) == 2
    assert "ValueError: new: the folder . cannot be written" in lines[0]
    assert "PermissionError" in lines[1]
    assert "cannot write new: Permission denied" in lines[1]
