"""Activations to be stored, in every format that is read."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import zarr
from safetensors.numpy import save_file

SAMPLES = 21
CONV = np.random.default_rng(0).standard_normal((SAMPLES, 3, 2, 4)).astype(np.float32)
HEAD = np.random.default_rng(1).standard_normal((SAMPLES, 5))
IDS = list(range(100, 100 + SAMPLES))[::-1]
NAMES = [f"n{i:03}.jpg" for i in IDS]


def write_npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", conv=CONV, head=HEAD, ids=np.array(IDS), label="no layer")
    return folder / "x.npz"


def write_deflated_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "x.npz", conv=CONV, head=HEAD, sample_ids=np.array(IDS))
    return folder / "x.npz"


def write_safetensors(folder: Path) -> Path:
    arrays = {"conv": CONV, "head": HEAD, "ids": np.array(IDS), "scale": np.array(2, dtype=np.float32)}
    save_file(arrays, folder / "x.safetensors", metadata={"from": "a test"})
    return folder / "x.safetensors"


def write_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "x.h5", "w", track_order=True) as file:
        file["conv"] = CONV
        file.create_dataset("head", data=HEAD, chunks=(4, 3), compression="gzip", shuffle=True)
        file["ids"] = IDS
        file["epochs"] = np.arange(3)
    return folder / "x.h5"


def write_npy_folder(folder: Path) -> Path:
    path = folder / "x"
    path.mkdir()
    np.save(path / "conv.npy", np.asfortranarray(CONV))
    np.save(path / "head.npy", HEAD)
    np.save(path / "ids.npy", np.array(IDS))
    return path


def write_thingsvision(folder: Path) -> Path:
    """As thingsvision's extractor does with ``output_dir``: a folder a module, features in pieces or in one file."""
    path = folder / "x"
    (path / "conv").mkdir(parents=True)
    (path / "head").mkdir()
    np.save(path / "conv/features_0-16.npy", CONV[:16])
    np.save(path / "conv/features_16-21.npy", CONV[16:])
    np.save(path / "head/features.npy", HEAD)
    (path / "file_names.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return path


def write_zarr(folder: Path) -> Path:
    """By Zarr's own library, with chunks that divide features too and whichever codecs it takes by default."""
    group = zarr.open_group(folder / "x.zarr", mode="w", zarr_format=3)
    group.create_array("conv", data=CONV, chunks=(6, 2, 2, 4))
    lz4 = zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle")
    group.create_array("head", data=HEAD, chunks=(5, 4), compressors=[lz4, zarr.codecs.Crc32cCodec()])
    group.create_array("ids", data=np.array(IDS))
    return folder / "x.zarr"


WRITERS = {
    "npz": write_npz,
    "deflated npz": write_deflated_npz,
    "safetensors": write_safetensors,
    "hdf5": write_hdf5,
    "npy folder": write_npy_folder,
    "thingsvision": write_thingsvision,
    "zarr": write_zarr,
}
