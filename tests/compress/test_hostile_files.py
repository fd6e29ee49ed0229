"""Damaged and made-up files get an error that says where, never a crash, never memory they could not fill."""

from __future__ import annotations

import resource
import subprocess
import sys
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.compress import CorruptFileError, load, prune, save, share_weights
from tests.compress import oracle
from tests.compress.networks import perceptron


def whole_file(folder):
    model = share_weights(prune(perceptron(), {"0": 0.8, "2": 0.5}), {"0": 4, "4": 2})
    path = folder / "whole.psz"
    save({**model.state_dict(), "table": torch.arange(400) % 3, "empty": torch.zeros(0)}, path, config={"a": 1})
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_file(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile") / "m.psz"


def refused(data, place, message=""):
    place.write_bytes(data)
    with pytest.raises(CorruptFileError, match=f"can't be read: .*{message}"):
        load(place)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_noticed(whole, place, data):
    at, flip = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    refused(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :], place)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_truncation_and_any_addition_is_noticed(whole, place, data):
    refused(whole[: data.draw(st.integers(0, len(whole) - 1))], place)
    refused(whole + data.draw(st.binary(min_size=1, max_size=50)), place)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_is_no_file(place, data):
    refused(data, place)
    refused(oracle.MAGIC + data, place)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 400),
    st.sampled_from([2**31, 2**40, 2**63, -(2**63), 10**30]),
    st.floats(allow_nan=False),
    st.sampled_from(["", "w", "float32", "bool", "int64", "plain", "sparse", "shared", "sparse shared", "huffman"]),
    st.sampled_from(["packed", "deflated", "\ud800"]),
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2)
)


def spots(value, path=()):
    """Where a header can be changed: every list item and every entry, at any depth."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from spots(inner, (*path, key))


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_made_up_headers_with_right_checksums_are_refused_or_read(whole, place, data):
    header, sections = oracle.unpack_file(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(list(spots(header))))
        inner = header
        for key in path:
            inner = inner[key]
        inner[last] = data.draw(ANYTHING)
    place.write_bytes(oracle.pack_file(header, sections))
    try:
        read = load(place)
    except CorruptFileError:
        return
    total = sum(tensor.numel() * tensor.element_size() for tensor in read.state_dict.values())
    assert total <= 1024 * 8 * len(whole)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_made_up_sections_with_right_checksums_are_refused_or_read(whole, place, data):
    header, sections = oracle.unpack_file(whole)
    at = data.draw(st.integers(0, len(sections) - 1))
    new = data.draw(st.binary(min_size=1, max_size=8))
    place.write_bytes(oracle.pack_file(header, (sections[:at] + new + sections[at + len(new) :])[: len(sections)]))
    try:
        read = load(place)
    except CorruptFileError:
        return
    assert list(read.state_dict) == [tensor["name"] for tensor in header["tensors"]]


def tensor(**changes):
    return {
        "name": "w",
        "dtype": "float32",
        "shape": [4],
        "form": "plain",
        "entries": 4,
        "bits": [0, 0],
        "sections": [["plain", 16]],
        **changes,
    }


SPARSE = {"form": "sparse shared", "bits": [8, 1], "sections": [["packed", 1], ["plain", 4], ["packed", 1]]}


@pytest.mark.parametrize(
    ("changes", "sections", "message"),
    [
        ({"shape": [2**40, 2**40]}, 16, "larger than"),
        ({"shape": [2**62]}, 16, "sizes from 0 to"),
        ({"shape": [-4]}, 16, "sizes from 0 to"),
        ({"shape": [1] * 40}, 16, "list of at most 16"),
        ({"shape": [5]}, 16, "4 entries can't make 5 elements"),
        ({"shape": [2**30], "entries": 2**30}, 16, "bytes of values"),
        ({"dtype": "complex64"}, 16, "name, type or form that is none"),
        ({"dtype": ["float32"]}, 16, "name, type or form that is none"),
        ({"form": "pickled"}, 16, "name, type or form that is none"),
        ({"bits": [3, 0]}, 16, "widths that do not fit"),
        ({"sections": [["plain", 17]]}, 16, "needs 17 bytes of values where 16 are left"),
        ({"sections": [["plain", -1]]}, 16, "section of values that is none"),
        ({"sections": [["huffman", 16]]}, 16, "section of values that is none"),
        ({"sections": []}, 16, "must have the sections values"),
        ({"entries": 1.5}, 16, "has 1.5 entries"),
        ({}, 17, "1 bytes belong to no tensor"),
        ({"extra": 1}, 16, "a tensor must have"),
        ({"shape": [2**38], "entries": 2**38, "sections": [["deflated", 16]]}, 16, "16 bytes can't become"),
        ({**SPARSE, "shape": [2**39], "entries": 2**31}, 6, "can't hold"),
        ({**SPARSE, "shape": [2**39], "entries": 1}, 6, "1 entries can't make"),
        ({**SPARSE, "shape": [300], "entries": 1}, b"\xff" + bytes(5), None),
        ({**SPARSE, "shape": [200], "entries": 1}, b"\xff" + bytes(5), "index reaches place 255 of a tensor of 200"),
        ({**SPARSE, "entries": 1, "bits": [8, 2]}, b"\x00\0\0\0\0\x03", "code 3 in a codebook of 2"),
    ],
    ids=lambda value: "",
)
def test_each_lie_is_named(changes, sections, message, place):
    data = sections if isinstance(sections, bytes) else bytes(sections)
    made = oracle.pack_file({"config": None, "tensors": [tensor(**changes)]}, data)
    if message is None:
        place.write_bytes(made)
        assert load(place).state_dict["w"].shape == (300,)
    else:
        refused(made, place, message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "the header must have config and tensors"),
        ({"config": 1}, "the header must have config and tensors"),
        ({"config": None, "tensors": {}}, "tensors must be a list"),
        ({"config": None, "tensors": [3]}, "a tensor must have"),
        ({"config": None, "tensors": [tensor(), tensor()]}, "two tensors are called 'w'"),
    ],
)
def test_headers_of_another_make(header, message, place):
    refused(oracle.pack_file(header, bytes(32)), place, message)


def test_headers_that_are_no_json(place):
    refused(oracle.pack_file(None, b"", text=b"{"), place, "the header is not JSON")
    refused(oracle.pack_file(None, b"", text=b"[" * 200_000), place, "the header is not JSON")
    refused(oracle.pack_file(None, b"", text=b'{"config": NaN, "tensors": []}'), place, "NaN is no number of JSON")
    refused(oracle.pack_file(None, b"", text=b"\xff\xfe"), place, "the header is not JSON")


def test_versions_to_come_are_refused_by_their_number(place):
    refused(oracle.pack_file({}, b"", version=2), place, "version 2; this pyscale reads version 1")


def test_a_header_that_would_fill_memory(place):
    bomb = oracle.pack_file(None, b"", text=b" " * 2**25)
    assert len(bomb) < 2**16
    refused(bomb, place, "its header would have 33554432 bytes")
    refused(oracle.pack_file(None, b"", text=b" " * 2**20, plain=100), place, "do not hold exactly 100 bytes")


LIMITED = """
import resource, sys
from pyscale.compress import CorruptFileError, load
import pyscale.compress.archive
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
for path in sys.argv[1:]:
    try:
        load(path)
    except CorruptFileError:
        print("refused")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_bombs_do_not_fill_memory(tmp_path):
    """Deflate data of 10 GB in every role, in a process that may take 256 MiB more than it has."""
    assert resource.RLIM_INFINITY
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflater.compress(bytes(2**20)) for _ in range(512)) + deflater.flush()
    cases = [
        tensor(shape=[2**33], entries=2**33, sections=[["deflated", len(bomb)]], dtype="uint8"),
        tensor(shape=[16], entries=16, sections=[["deflated", len(bomb)]], dtype="uint8"),
        tensor(shape=[16], entries=16, form="shared", bits=[0, 1], sections=[["plain", 0], ["huffman", len(bomb)]]),
        tensor(
            shape=[2**33], entries=2**25, form="sparse", bits=[8, 0], sections=[["huffman", len(bomb)], ["plain", 0]]
        ),
    ]
    paths = []
    for i, case in enumerate(cases):
        paths.append(tmp_path / f"{i}.psz")
        paths[-1].write_bytes(oracle.pack_file({"config": None, "tensors": [case]}, bomb))
    done = subprocess.run([sys.executable, "-c", LIMITED, *map(str, paths)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["refused"] * len(cases)


def test_the_fuzzed_file_has_all_forms(whole):
    header, _ = oracle.unpack_file(whole)
    assert {entry["form"] for entry in header["tensors"]} == {"plain", "sparse", "shared", "sparse shared"}
    codings = {coding for entry in header["tensors"] for coding, _ in entry["sections"]}
    assert codings >= {"plain", "packed", "huffman"}
