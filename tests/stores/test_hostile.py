"""Files made to do harm: nothing is unpickled, nothing outside a store is reached, no claim makes memory be taken."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd

import pyscale as ps
from pyscale.comparison.extraction.engine import extract
from pyscale.stores import DamagedStoreError
from pyscale.stores.chunk_codec import CRC, decode, encode
from pyscale.stores.keys import check_key, layer_key
from pyscale.stores.places import Folder
from pyscale.stores.raw_arrays import check_claim
from tests.stores.samples import CONV, HEAD, write_zarr

MOST = 64 * 2**20  # bytes that opening or refusing a small file may take


@pytest.fixture(autouse=True)
def memory_stays_small():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST


def header(shape, descr="<f4", version=1):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


class Evil:
    def __reduce__(self):
        return pytest.fail, ("was unpickled",)


def test_pickles_are_not_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickled objects, which are never read"):
        ps.open_store(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", conv=CONV, evil=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match="pickled objects, which are never read"):
        ps.open_store(tmp_path / "x.npz")
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DamagedStoreError, match=r"no \.npy file"):
        ps.open_store(tmp_path / "y.npy")


@pytest.mark.parametrize("shape", [(10**12,), (2**62, 4), (10**6, 10**6), (-1, 4), (5, 2**40, 2**40)])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_npy_header_that_claims_more_than_is_there(tmp_path, shape, version):
    (tmp_path / "x.npy").write_bytes(header(shape, version=version) + b"\0" * 400)
    with pytest.raises(DamagedStoreError, match=r"cut short|damaged header"):
        ps.open_store(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "text",
    [b"{'descr': '<f4'}", b"__import__('os').system('true')", b"(" * 9000, b"{" * 9000, b"\xff", b"", b"[]", b"1",
     b"{'descr': 'f4', 'shape': (1.5,), 'fortran_order': False}", b"{'descr': 'f4', 'shape': (4,), 'fortran_order': 1}",
     b"{'descr': 'nonsense', 'shape': (4,), 'fortran_order': False}", b"9" * 9999],
)  # fmt: skip
def test_a_npy_header_that_makes_no_sense(tmp_path, text):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text)
    with pytest.raises(DamagedStoreError, match="damaged header"):
        ps.open_store(tmp_path / "x.npy")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", header((4, 10**9)) + b"\0" * 10**6)
    with pytest.raises(DamagedStoreError, match="cut short"):
        ps.open_store(tmp_path / "x.npz")


def test_a_deflated_member_is_read_piece_by_piece(tmp_path):
    """What is all zeros really is a thousandth of its size: it is read, but never as a whole."""
    zeros = np.zeros((2000, 4000), dtype=np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, zeros=zeros)
    del zeros
    (tmp_path / "x.npz").write_bytes(buffer.getvalue())
    tracemalloc.reset_peak()
    with ps.open_store(tmp_path / "x.npz") as store:
        assert not store.layers["zeros"].rows(1990, 2000).any()


def test_names_in_an_archive_are_only_names(tmp_path):
    np.savez(tmp_path / "x.npz", **{"../../evil": CONV, "/etc/passwd": CONV})
    assert list(ps.open_store(tmp_path / "x.npz").layers) == ["../../evil", "/etc/passwd"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npz"]


def test_a_layers_name_never_leaves_the_store(tmp_path):
    import torch
    from torch import nn

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            for name in ("/etc", "..\\x", "__meta", "c", "zarr", "%2E", "ü"):
                self._modules[name] = nn.Linear(2, 2)

        def forward(self, x):
            for module in self._modules.values():
                x = module(x)
            return x

    store = extract(Odd(), [torch.ones(4, 2)], tmp_path / "x.zarr", progress=False)
    assert list(store.layers) == ["/etc", "..\\x", "__meta", "c", "zarr", "%2E", "ü"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    assert all((tmp_path / "x.zarr/layers" / layer_key(name) / "zarr.json").is_file() for name in store.layers)


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", "a//b", ".", "", "a/./b", "a\0b", "..\\x"])
def test_keys_that_lead_elsewhere_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match="no path inside a store"):
        check_key(key)
    with pytest.raises(ValueError, match="no path inside a store"):
        Folder(tmp_path).read(key)


def test_a_manifest_can_not_name_files_outside(tmp_path):
    ours = {"format": "pyscale activations", "version": 1, "complete": True, "layers": ["../../secret"]}
    (tmp_path / "x.zarr").mkdir()
    node = {"zarr_format": 3, "node_type": "group", "attributes": {"pyscale": ours}}
    (tmp_path / "x.zarr/zarr.json").write_text(json.dumps(node))
    with pytest.raises(DamagedStoreError, match=r"lacks layers/%2E\.%2F\.\.%2Fsecret/zarr\.json"):
        ps.open_store(tmp_path / "x.zarr")


@pytest.mark.parametrize("what", ["zarr.json", "conv", "conv/zarr.json", "conv/c/0/0/0/0"])
def test_links_inside_a_zarr_are_not_followed(tmp_path, what):
    path = write_zarr(tmp_path)
    (path / what).rename(tmp_path / "outside")
    (path / what).symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="symbolic link"):
        ps.open_store(path).layers["conv"].rows(0, 2)


def test_links_in_a_folder_of_npy_files_are_not_followed(tmp_path):
    np.save(tmp_path / "secret.npy", HEAD)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/head.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(ValueError, match="symbolic link"):
        ps.open_store(tmp_path / "x")


def test_devices_and_pipes_are_not_opened(tmp_path):
    import os

    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="no regular file"):
        ps.open_store(tmp_path / "x.npy")


def rewritten(tmp_path, **changes):
    path = write_zarr(tmp_path)
    node = json.loads((path / "conv/zarr.json").read_text())
    (path / "conv/zarr.json").write_text(json.dumps({**node, **changes}))
    return path


def grid(*chunks):
    return {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [10**15, 3, 2, 4]}, "chunks are missing"),
        ({"shape": [2**62, 2**62, 2, 4]}, "no list of whole numbers"),
        ({"shape": [2**61, 2**61, 2, 4]}, "can't be true"),
        ({"shape": [21, 3, 2, -4]}, "no list of whole numbers"),
        ({"shape": [21, 3, 2, 4.0]}, "no list of whole numbers"),
        ({"shape": "21"}, "no list of whole numbers"),
        ({"shape": [21, 3]}, "no matching lists"),
        ({"chunk_grid": grid(2**40, 2, 2, 4)}, "a chunk would take"),
        ({"chunk_grid": grid(10**6, 10, 2, 4)}, "claims .* bytes"),
        ({"chunk_grid": grid(0, 2, 2, 4)}, "no list of whole numbers"),
        ({"chunk_grid": {"name": "rectilinear"}}, "no list of whole numbers"),
        ({"data_type": "object"}, "holds layers|no layer|equal|unequal|head"),
        ({"codecs": [{"name": "bytes"}, {"name": "gzip"}]}, "encoded by bytes, gzip"),
        ({"codecs": [{"name": "pickle"}]}, "encoded by pickle"),
        ({"codecs": []}, "no list of objects"),
        ({"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]}, "big-endian"),
        ({"zarr_format": 2}, "no Zarr of format 3"),
        ({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../"}}}, "no keys that are known"),
    ],
)
def test_zarr_metadata_is_not_believed(tmp_path, changes, message):
    path = rewritten(tmp_path, **changes)
    if changes.get("data_type") == "object":
        assert list(ps.open_store(path).layers) == ["head"]
        return
    with pytest.raises(ValueError, match=message):
        ps.open_store(path)


def test_fill_values_stand_for_no_data(tmp_path):
    """An array of terabytes without a single chunk is a few bytes of metadata."""
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=3)
    group.create_array("conv", shape=(10**6, 10**6), chunks=(1000, 1000), dtype="float32", fill_value=1.0)
    with pytest.raises(DamagedStoreError, match="chunks are missing"):
        ps.open_store(tmp_path / "x.zarr")


def test_a_compressed_chunk_that_says_another_size(tmp_path):
    path = write_zarr(tmp_path)
    chunk = path / "conv/c/0/0/0/0"
    chunk.write_bytes(bytes(Zstd(1).encode(bytes(2**24))))  # 16 MiB of zeros in a few hundred bytes
    with pytest.raises(DamagedStoreError, match=r"Zstandard frame says 16777216 bytes; expected 384"):
        ps.open_store(path).layers["conv"].rows(0, 3)


@pytest.mark.parametrize("size", [0, 1, 15, 2**31])
def test_blosc_headers_are_not_believed(size):
    codecs = [{"name": "blosc", "configuration": {"typesize": 4, "cname": "lz4", "clevel": 5, "shuffle": "shuffle",
                                                  "blocksize": 0}}]  # fmt: skip
    good = encode(memoryview(CONV.tobytes()), codecs)
    out = memoryview(bytearray(CONV.nbytes))
    decode(memoryview(good), out, codecs)
    assert bytes(out) == CONV.tobytes()
    for at in (4, 12):  # bytes, compressed bytes
        with pytest.raises(ValueError, match="Blosc header says"):
            decode(memoryview(good[:at] + struct.pack("<I", size) + good[at + 4 :]), out, codecs)
    with pytest.raises(ValueError, match=r"less than a Blosc header|Blosc header says"):
        decode(memoryview(good[: min(size, 20)]), out, codecs)
    assert decode(memoryview(encode(memoryview(b"1234"), [CRC])), memoryview(bytearray(4)), [CRC]) is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}, "cut short"),
        ({"dtype": "F32", "shape": [10**12], "data_offsets": [0, 16]}, "has shape"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}, "has shape"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}, "cut short"),
        ({"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}, "damaged entry"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}, "damaged entry"),
        ({"dtype": 4, "shape": [4], "data_offsets": [0, 16]}, "cut short"),
        ({"shape": [4]}, "damaged entry"),
        (7, "damaged entry"),
    ],
)
def test_safetensors_headers_are_not_believed(tmp_path, entry, message):
    text = json.dumps({"conv": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 16)
    with pytest.raises(DamagedStoreError, match=message):
        ps.open_store(tmp_path / "x.safetensors")


@pytest.mark.parametrize("length", [2**63, 10**9, 100])
def test_a_safetensors_header_longer_than_the_file(tmp_path, length):
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(DamagedStoreError, match="claims a header of"):
        ps.open_store(tmp_path / "x.safetensors")


def test_hdf5_that_leads_elsewhere_is_refused(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["conv"] = CONV
    (tmp_path / "raw").write_bytes(HEAD.tobytes())
    layout = h5py.VirtualLayout(shape=CONV.shape, dtype="f4")
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "conv", shape=CONV.shape)
    makers = {
        "external link": lambda file: file.__setitem__("x", h5py.ExternalLink("secret.h5", "/conv")),
        "soft link": lambda file: file.__setitem__("x", h5py.SoftLink("/conv")),
        "external": lambda file: file.create_dataset(
            "x", HEAD.shape, "f8", external=[(str(tmp_path / "raw"), 0, HEAD.nbytes)]
        ),
        "virtual": lambda file: file.create_virtual_dataset("x", layout),
    }
    for name, make in makers.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["conv"] = CONV
            make(file)
        with pytest.raises(ValueError, match=r"is a link|in other files, which aren't read"):
            ps.open_store(tmp_path / f"{name}.h5")


def test_hdf5_that_holds_nothing_is_refused(tmp_path):
    for name, options in {
        "contiguous": {},
        "chunked": {"chunks": (1000, 1000)},
        "deflated": {"chunks": (1000, 1000), "compression": "gzip"},
    }.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("x", (10**6, 10**6), "f4", fillvalue=1, **options)
        with pytest.raises(DamagedStoreError, match=r"aren't all there|claims"):
            ps.open_store(tmp_path / f"{name}.h5")


def test_hdf5_groups_that_hold_one_another_end(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["conv"] = CONV
        file.create_group("a/b")
        file["a/b/again"] = file["a"]  # a hard link back
    assert "conv" in ps.open_store(tmp_path / "x.h5").layers


def test_claims_are_held_against_what_is_there():
    check_claim((4, 5), 4, 80, "x")
    with pytest.raises(DamagedStoreError, match=r"x has shape \(4, 5\), 80 bytes, and the file has 79 for it"):
        check_claim((4, 5), 4, 79, "x")
