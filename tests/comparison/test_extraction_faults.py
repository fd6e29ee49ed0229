"""Extractions that go wrong: nothing corrupt is left, nothing is lost, and the message says what to do."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time

import pytest
import torch

import pyscale as ps
from pyscale.stores import LockedStoreError, lock, zarr_writer
from pyscale.stores.places import Folder
from tests.comparison.killed import tree
from tests.comparison.test_extraction import Network, batches, extract, images


class Failing(Network):
    """Fails at one batch, in one way, once."""

    def __init__(self, at, failure):
        super().__init__()
        self.at, self.failure, self.seen = at, failure, 0

    def forward(self, x):
        self.seen += 1
        if self.seen - 1 == self.at:
            self.failure()
        return super().forward(x)


def fail(error):
    raise error


def settled(path):
    """Return whether a store can be compared."""
    if json.loads((path / "zarr.json").read_text())["attributes"]["pyscale"]["complete"]:
        ps.open_store(path)
        return True
    with pytest.raises(ValueError, match=r"is unfinished: .* goes on where it stopped"):
        ps.open_store(path)
    return False


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of a part of a batch, of a batch, and of two."""
    for name, value in (("_SMALL", 9000), ("_LARGE", 9000), ("_MOST_ROWS", 32)):
        monkeypatch.setattr(zarr_writer, name, value)


@pytest.fixture
def whole(tmp_path):
    extract(tmp_path / "whole.zarr", Failing(-1, None))
    return tree(tmp_path / "whole.zarr")


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (lambda: fail(RuntimeError("a bug")), RuntimeError),
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
        (lambda: fail(MemoryError("no more")), MemoryError),
    ],
    ids=["error", "SIGINT", "memory"],
)
def test_what_was_stopped_goes_on(tmp_path, whole, at, failure, kind):
    path = tmp_path / "x.zarr"
    with pytest.raises(kind):
        extract(path, Failing(at, failure))
    assert not settled(path)
    model = Failing(-1, None)
    extract(path, model)
    assert tree(path) == whole
    assert model.seen <= 4


def test_batches_that_are_done_are_not_computed_again(tmp_path, whole):
    with pytest.raises(RuntimeError):
        extract(tmp_path / "x.zarr", Failing(3, lambda: fail(RuntimeError())))
    model = Failing(-1, None)
    extract(tmp_path / "x.zarr", model)
    assert model.seen == 2  # the third is in no whole chunk of the layers whose chunks take two
    assert tree(tmp_path / "x.zarr") == whole


def test_resume_false_begins_anew(tmp_path, whole):
    path = tmp_path / "x.zarr"
    with pytest.raises(RuntimeError):
        extract(path, Failing(2, lambda: fail(RuntimeError())), features="pool")
    with pytest.raises(ValueError, match=r"unfinished store with other features.*begin anew with resume=False"):
        extract(path, Failing(-1, None))
    extract(path, Failing(-1, None), resume=False)
    assert tree(path) == whole


@pytest.mark.parametrize("at", [0, 1, 2, 5])
@pytest.mark.parametrize("resume", [True, False])
def test_beginning_anew_may_be_stopped_too(tmp_path, whole, monkeypatch, at, resume):
    path, remove, count = tmp_path / "x.zarr", Folder.remove, []
    with pytest.raises(RuntimeError):
        extract(path, Failing(3, lambda: fail(RuntimeError())))

    def stopped(self, key):
        count.append(key)
        if len(count) > at:
            raise KeyboardInterrupt
        remove(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "remove", stopped)
        with pytest.raises(KeyboardInterrupt):
            extract(path, Failing(-1, None), resume=False)
    extract(path, Failing(-1, None), resume=resume)
    assert tree(path) == whole


@pytest.mark.parametrize(
    "other", [batches(seed=1), batches(size=8), [images()[16:32], images()[:16]], batches(seed=0, size=16).dataset[:16]]
)
def test_a_run_is_not_taken_up_with_other_data(tmp_path, other):
    path = tmp_path / "x.zarr"
    with pytest.raises(RuntimeError):
        extract(path, Failing(3, lambda: fail(RuntimeError())))
    other = [other] if isinstance(other, torch.Tensor) else other
    with pytest.raises(ValueError, match=r"the loader (gives other samples|ended after)"):
        extract(path, Failing(-1, None), other)
    assert not settled(path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("at", [0, 3, 8, 12, 17])
def test_what_the_system_refuses_is_said_and_goes_on(tmp_path, whole, code, at):
    path, write, count = tmp_path / "x.zarr", Folder.write, []

    def refusing(self, key, data):
        count.append(key)
        if len(count) > at and not key.startswith(lock.LOCK):
            raise OSError(code, "refused")
        write(self, key, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "write", refusing)
        with pytest.raises(OSError, match="refused") as caught:
            extract(path, Failing(-1, None))
    assert caught.value.errno == code
    if at:
        assert "samples of it are whole and stay" in str(caught.value)
        assert "extract again with the same arguments" in str(caught.value)
    if (path / "zarr.json").exists():
        assert not settled(path)
    extract(path, Failing(-1, None))
    assert tree(path) == whole


def test_what_the_loader_is_refused_is_not_put_down_to_the_store(tmp_path):
    def missing():
        yield images()[:16]
        (tmp_path / "picture.jpg").read_bytes()

    with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\] No such file or directory: '.*picture\.jpg'$"):
        extract(tmp_path / "x.zarr", loader=missing())


def test_a_disk_that_is_really_full(tmp_path):
    """A limit on the size of files stands for a full disk: the system itself refuses, in the middle of a write."""
    code = (
        "import resource, signal, sys, torch, pyscale as ps\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "torch.manual_seed(0)\n"
        "ps.extract(torch.nn.Linear(4, 9000), [torch.randn(32, 4)] * 3, sys.argv[1], layers='', progress=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.zarr")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "File too large, writing" in done.stderr
    assert not settled(tmp_path / "x.zarr")
    assert not list(tmp_path.rglob("*.part"))


def test_nan_is_named_and_what_was_before_stays(tmp_path, whole):
    path, x = tmp_path / "x.zarr", images()
    x[37, 0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match=r"activations of layer 'conv' in batch 2 hold NaN\. What was written before"):
        extract(path, Failing(-1, None), [x[:16], x[16:32], x[32:48], x[48:]])
    assert not settled(path)
    extract(path, Failing(-1, None))
    assert tree(path) == whole


def test_float16_that_overflows_is_told_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="float16 overflows beyond 65504"):
        extract(tmp_path / "x.zarr", Network(torch.float16), [images() * 1e6])


def test_a_layer_that_changes_its_shape_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"layer 'conv' gives activations of shape \(6, 5, 5\).*gave \(6, 7, 7\)"):
        extract(tmp_path / "x.zarr", loader=[images(), images()[:, :, :7, :7]])


def test_an_empty_loader_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="loader is empty"):
        extract(tmp_path / "x.zarr", loader=iter([]))


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-1] + b"?"])
def test_a_chunk_that_a_power_failure_cut_is_written_again(tmp_path, whole, damage):
    path = tmp_path / "x.zarr"
    with pytest.raises(RuntimeError):
        extract(path, Failing(3, lambda: fail(RuntimeError())))
    last = max(path.glob("layers/conv/c.*"), key=lambda chunk: int(chunk.name.split(".")[1]))
    last.write_bytes(damage(last.read_bytes()))
    extract(path, Failing(-1, None))
    assert tree(path) == whole


def test_two_writers_are_refused(tmp_path):
    code = (
        "import sys, time, torch, pyscale as ps\n"
        "def forward(model, batch): print('ready', flush=True); time.sleep(60)\n"
        "ps.extract(torch.nn.Linear(3, 2), [torch.zeros(4, 3)], sys.argv[1], forward=forward, layers='')\n"
    )
    path = tmp_path / "x.zarr"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "ready\n"
        with pytest.raises(
            LockedStoreError, match=rf"is being written by process {writer.pid} on \S+; two can't write"
        ):
            extract(path)
        writer.kill()
        writer.wait()
    assert (path / ".lock").exists()
    extract(path, resume=False)  # the lock fell with its owner
    assert settled(path)
    assert not (path / ".lock").exists()


def test_a_lock_of_this_process_counts_too(tmp_path):
    def nested(model, batch):
        extract(tmp_path / "x.zarr")

    with pytest.raises(LockedStoreError, match="by this very process"):
        extract(tmp_path / "x.zarr", forward=nested)


def test_a_lock_of_another_host_is_respected(tmp_path, monkeypatch):
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr/.lock").write_text('{"host": "elsewhere", "pid": 1, "started": "0"}')
    with pytest.raises(LockedStoreError, match=r"process 1 on elsewhere; if that process is gone, remove \.lock"):
        extract(tmp_path / "x.zarr")


@pytest.mark.parametrize("owner", ["gone", "alive"])
def test_a_lock_where_there_are_no_locks_is_a_file(tmp_path, owner):
    place = ps.stores.places.place_of(f"memory://locks/{owner}.zarr")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        time.sleep(0.1)
        started = lock._started(process.pid)
        owner_of_it = {"host": lock.socket.gethostname(), "pid": process.pid, "started": started}
        place.write(lock.LOCK, json.dumps(owner_of_it).encode())
        if owner == "gone":
            process.kill()
            process.wait()
            extract(place.address)
            assert lock.LOCK not in place.stamps()
            return
        with pytest.raises(LockedStoreError, match=f"process {process.pid}"):
            extract(place.address)
        process.kill()
