"""Reports count the bytes of files; the paper's rate comes out as the paper says."""

from __future__ import annotations

import math

import pytest
import torch

from pyscale.compress import Report, compression_rate, prune, save, share_weights
from tests.compress import oracle
from tests.compress.networks import perceptron


def test_the_paper_s_worked_example():
    """16 weights of 32 bits that share 4 values: 16 x 32 / (16 x 2 + 4 x 32) = 3.2."""
    assert compression_rate(16, 4) == pytest.approx(3.2)
    assert compression_rate(10**6, 2, bits=16) == pytest.approx(16, rel=1e-4)


@pytest.mark.parametrize("arguments", [(0, 4), (16, 0), (16, 4, -1)])
def test_rates_of_nothing_are_refused(arguments):
    weights, clusters, *bits = arguments
    with pytest.raises(ValueError, match="must be at least 1"):
        compression_rate(weights, clusters, **({"bits": bits[0]} if bits else {}))


@pytest.mark.parametrize("huffman", [True, False])
def test_every_number_is_that_of_the_file(tmp_path, huffman):
    path = tmp_path / "m.psz"
    model = share_weights(prune(perceptron(), {"0": 0.9, "2": 0.5}), {"0": 5, "2": 3})
    report = save(model, path, huffman=huffman)
    header, sections = oracle.unpack_file(path.read_bytes())
    assert report.bytes_file == path.stat().st_size
    assert sum(row.bytes_stored for row in report.tensors) == len(sections)
    state = model.state_dict()
    for row, entry in zip(report.tensors, header["tensors"], strict=True):
        sizes = [size for _, size in entry["sections"]]
        gaps = sizes[0] if entry["bits"][0] else 0
        assert row.name == entry["name"]
        assert row.weights == state[row.name].numel()
        assert row.kept == int((state[row.name] != 0).sum())
        assert row.kept_share == row.kept / row.weights
        assert row.weight_bits_stored == pytest.approx(8 * sizes[-1] / entry["entries"])
        assert row.index_bits_stored == pytest.approx(8 * gaps / entry["entries"])
        assert (row.index_bits, row.weight_bits) == (entry["bits"][0], entry["bits"][1] or 32)
        assert row.bytes_before == 4 * row.weights
        assert row.size_share == sum(sizes) / row.bytes_before
    assert report.rate == report.bytes_before / report.bytes_file
    assert report.bytes_before == 4 * sum(tensor.numel() for tensor in state.values())
    assert report.kept_share == sum(row.kept for row in report.tensors) / sum(row.weights for row in report.tensors)


def test_without_huffman_codes_symbols_take_their_width(tmp_path):
    report = save(share_weights(prune(perceptron(), 0.8), 4), tmp_path / "m.psz", huffman=False)
    for row in report.tensors:
        assert row.weight_bits_stored == pytest.approx(row.weight_bits, abs=8 / 30)
        assert row.index_bits_stored == pytest.approx(row.index_bits, abs=8 / 30)


def test_sharing_alone_comes_near_the_paper_s_rate(tmp_path):
    weight = torch.randn(200, 500)
    model = torch.nn.Sequential(torch.nn.Linear(500, 200, bias=False))
    model[0].weight.data = weight
    report = save(share_weights(model, 4), tmp_path / "m.psz", huffman=False)
    assert report.tensors[0].weights / report.tensors[0].bytes_stored * 4 == pytest.approx(compression_rate(10**5, 16))
    assert report.rate == pytest.approx(compression_rate(10**5, 16), rel=0.01)


def test_the_table(tmp_path):
    report = save(share_weights(prune(perceptron(), 0.8), 4), tmp_path / "m.psz")
    lines = str(report).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[0].split() == ["weights", "kept", "weight", "bits", "index", "bits", "bytes", "size"]
    assert lines[1].startswith("0.weight")
    assert lines[-1] == f"{report.rate:.1f} times smaller than {report.bytes_before} bytes"
    assert [row["name"] for row in report.rows()] == list(perceptron().state_dict())


def test_a_model_without_tensors(tmp_path):
    report = save({}, tmp_path / "m.psz")
    assert isinstance(report, Report)
    assert (report.rate, report.kept_share) == (0.0, 0.0)
    assert math.isfinite(report.rate)
    assert "file" in str(report)
