"""Files that are whole or absent, of the mode that the umask says, and what a killed process leaves of one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.pipelines.prepared import killed_while_writing
from vicc_ray.clip_store.schema import STORE_FILE, read_store_file
from vicc_ray.config import ClipConfig, ModelConfig
from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import load_features
from vicc_ray.evaluation.predictions_io import read_predictions
from vicc_ray.models.checkpoint_import.importer import read_published
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.runs.checkpoint_state import MODEL, STATE, Snapshot, read_model, read_state
from vicc_ray.search.index_checks import open_part
from vicc_ray.search.index_format import Description
from vicc_ray.utils.fs import LOCK_FILE, atomic_path, file_lock, folder_lock, remove_partials, unreadable

NOBODY = 54321

WRITING = """
import os, stat, sys, threading
from pathlib import Path
from vicc_ray.utils.fs import atomic_path, atomic_write

os.umask(int(sys.argv[2], 8))
changes = []
changed = os.umask
os.umask = lambda mask: changes.append(mask) or changed(mask)

def write(thread):
    for number in range(50):
        name = f"{thread}-{number}"
        if number % 2:
            atomic_write(Path(sys.argv[1], name), b"content")
        else:
            with atomic_path(Path(sys.argv[1], name)) as aside:
                aside.unlink()  # as a library does that writes a file of its own, for its owner alone
                os.close(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600))

threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
modes = {oct(stat.S_IMODE(path.stat().st_mode)) for path in Path(sys.argv[1]).iterdir()}
print(changes, *modes)
"""
"""Many threads that write; what they made of the umask, and the modes of all files."""


@pytest.mark.slow
def test_only_temporary_files_of_the_given_names_are_removed(tmp_path: Path) -> None:
    own = [killed_while_writing(tmp_path / name) for name in ("a.json", "a.json", "[b].arrow")]
    others = [killed_while_writing(tmp_path / name) for name in ("aXjson", "a.json.txt", "c.html", "b.arrow")]
    (tmp_path / "a.json").write_text("{}")
    remove_partials(tmp_path, ("a.json", "[b].arrow", "not there"))
    assert not any(path.exists() for path in own)
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "a.json"])


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_concurrent_writes_keep_the_umask_and_follow_it(mask: int, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", WRITING, str(tmp_path), oct(mask)[2:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", oct(0o666 & ~mask)]


def test_temporary_files_have_unpredictable_names(tmp_path: Path) -> None:
    """Whoever has put a link where the next one is to be made has guessed its name."""
    with atomic_path(tmp_path / "a") as first, atomic_path(tmp_path / "a") as second:
        assert first != second
        assert len(first.name) - len(second.name) == 0 and len(first.name) >= len(".a.part") + 16


def test_a_checkpoint_has_the_file_mode_of_other_results(tmp_path: Path) -> None:
    snapshot = Snapshot({"w": torch.zeros(2)}, {"v": torch.zeros(2)}, {"step": 1})
    snapshot.write(tmp_path)
    (tmp_path / "other").write_text("")
    assert len({stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}) == 1


@contextmanager
def another_user() -> Iterator[None]:
    """Be somebody whose files these are not; without the right to, the owner whom their mode keeps out."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="module")
def unreadable_files() -> Iterator[Path]:
    """A folder that everybody may look into, with whole files of all kinds that nobody may read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_weights(folder / "encoder.safetensors", EncoderWeights("rgb", ModelConfig(), ClipConfig(), {}))
        Snapshot({"w": torch.zeros(2)}, {}, {"format": 3}).write(folder)
        torch.save({"state_dict": {}}, folder / "released.pth.tar")
        pq.write_table(pa.table({"id": ["a"]}), folder / "part-00000.parquet")
        for text in (STORE_FILE, "index.json", "mine.yaml"):
            (folder / text).write_text("{}")
        for file in folder.iterdir():
            file.chmod(0)
        yield folder


READERS = {
    "encoder.safetensors": read_weights,
    "released.pth.tar": read_published,
    "part-00000.parquet": read_predictions,
    "mine.yaml": lambda path: load_config(str(path), []),
    MODEL: lambda path: read_model(path.parent),
    STATE: lambda path: read_state(path.parent),
    STORE_FILE: lambda path: read_store_file(path.parent),
    "index.json": lambda path: Description.read(path.parent),
}


@pytest.mark.parametrize("name", READERS)
def test_an_unreadable_file_is_not_reported_as_damaged(name: str, unreadable_files: Path) -> None:
    with another_user(), pytest.raises(UserError) as told:
        READERS[name](unreadable_files / name)
    assert "Permission denied" in str(told.value) and name in str(told.value)
    assert not any(word in str(told.value) for word in ("damaged", "remove", "not a", "anew"))


def test_unreadable_parts_are_not_reported_as_damaged(unreadable_files: Path) -> None:
    part = unreadable_files / "part-00000.parquet"
    with another_user():
        assert "Permission denied" in str(unreadable(part))
        for read in (lambda: open_part(part), lambda: load_features(unreadable_files)):
            with pytest.raises(UserError, match="Permission denied"):
                read()


def test_readable_and_missing_files_are_not_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"damaged")
    assert unreadable(tmp_path / "a") is None
    assert unreadable(tmp_path / "b") is None


def test_a_lock_follows_no_symbolic_link_and_truncates_no_file(tmp_path: Path) -> None:
    """Whoever made the folder could have the file of another emptied."""
    (tmp_path / "mine").write_text("kept")
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "mine")
    for lock in (lambda: folder_lock(tmp_path), lambda: file_lock(tmp_path / LOCK_FILE)):
        with pytest.raises(UserError, match=LOCK_FILE), lock():
            pass
    with file_lock(tmp_path / "mine"):
        assert (tmp_path / "mine").read_text() == "kept"
