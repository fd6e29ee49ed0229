"""Streams beside the models': what waits for what, on pretended streams that know all that came before each of them."""

from __future__ import annotations

import pytest
import torch

from pyscale.comparison.side_streams import SideStreams, _stream_beside

DEVICE = torch.device("cuda", 0)


class Stream:
    """A stream as the set of what is certain to be done before the next thing queued on it."""

    current = None

    def __init__(self, device=None):
        self.done = set()

    def queue(self, name):
        """Queue something; return what it is certain to come after."""
        before = set(self.done)
        self.done.add(name)
        return before

    def wait_stream(self, other):
        self.done |= other.done

    def wait_event(self, event):
        self.done |= event.done


class Event:
    """An event as torch's: without a handle until it is recorded, and nothing waits for it before."""

    def __init__(self):
        self.cuda_event, self.done = 0, set()

    def record(self, stream=None):
        self.cuda_event, self.done = 1, set((stream or Stream.current).done)


class Entered:
    """``torch.cuda.stream``."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        self.outer, Stream.current = Stream.current, self.stream

    def __exit__(self, *error):
        Stream.current = self.outer


def mark(read):
    """What kernels do once they have read everything."""
    read.event.record()
    read.marked = True


@pytest.fixture
def main(monkeypatch):
    stream = Stream()
    monkeypatch.setattr(Stream, "current", stream)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", Entered)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: Stream.current)
    _stream_beside.cache_clear()
    yield stream
    _stream_beside.cache_clear()


def test_the_model_waits_for_the_reading_and_for_nothing_else(main):
    with SideStreams() as streams:
        main.queue("layer")
        with streams.reading(DEVICE) as read:
            side = Stream.current
            assert side is not main
            assert "layer" in side.queue("product")
            mark(read)
            side.queue("packing")
        before = main.queue("in-place ReLU")
        assert "product" in before
        assert "packing" not in before
        with streams.reading(DEVICE) as read:
            assert Stream.current is side
            assert {"packing", "in-place ReLU"} <= side.queue("next product")
        assert "next product" in main.queue("next layer")  # an event nobody recorded is recorded at the end


def test_sums_wait_for_grams_and_nothing_waits_for_sums_before_the_end(main):
    with SideStreams() as streams:
        with streams.reading(DEVICE) as read:
            mark(read)
            Stream.current.queue("gram")
        with streams.summing():
            assert "gram" in Stream.current.queue("sums")
        assert Stream.current is main
        assert "sums" not in main.queue("next batch")
    assert "sums" in main.queue("result")


def test_an_error_leaves_the_streams_joined(main):
    def refuse(streams):
        with streams.reading(DEVICE):
            Stream.current.queue("gram")
            raise ValueError("NaN")

    with SideStreams() as streams:
        with pytest.raises(ValueError, match="NaN"):
            refuse(streams)
        assert Stream.current is main
        assert "gram" in main.queue("next")
        with streams.reading(DEVICE) as read:
            mark(read)
            Stream.current.queue("second gram")
        assert "second gram" not in main.done
    assert "second gram" in main.done


def test_a_failing_model_leaves_the_streams_joined(main):
    def run():
        with SideStreams() as streams:
            with streams.reading(DEVICE) as read:
                mark(read)
                Stream.current.queue("gram")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert "gram" in main.done


def test_on_other_devices_nothing_is_done():
    with SideStreams() as streams, streams.reading(torch.device("cpu")) as read, streams.summing():
        assert read is None
