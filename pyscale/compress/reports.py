"""What compression bought, counted in the bytes of a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pyscale.compress.encoding import Encoded


@dataclass(frozen=True)
class TensorReport:
    """One tensor of a file; the columns of the tables in the paper on deep compression.

    Attributes:
        name: Its key in the state dict.
        weights: How many elements it has.
        kept: How many of them are not zero.
        form: How it is stored: ``"plain"``, ``"sparse"``, ``"shared"`` or ``"sparse shared"``.
        weight_bits: Of one stored value before Huffman coding: of its code, or of its type.
        weight_bits_stored: Of one stored value in the file, fillers counted among the values; codebooks apart.
        index_bits: Of one gap before Huffman coding, 0 where all elements are stored.
        index_bits_stored: Of one gap in the file.
        bytes_before: In memory.
        bytes_stored: In the file, its codebook included, its line in the header not.
    """

    name: str
    weights: int
    kept: int
    form: str
    weight_bits: int
    weight_bits_stored: float
    index_bits: int
    index_bits_stored: float
    bytes_before: int
    bytes_stored: int

    @property
    def kept_share(self) -> float:
        """Share of the elements that are not zero; 1 where there are none."""
        return self.kept / self.weights if self.weights else 1.0

    @property
    def size_share(self) -> float:
        """Bytes in the file to bytes in memory; 1 where there are none."""
        return self.bytes_stored / self.bytes_before if self.bytes_before else 1.0


@dataclass(frozen=True)
class Report:
    """All tensors of a file, and the file.

    Attributes:
        tensors: One row each, in the order of the state dict.
        bytes_file: The whole file: header, configuration, codebooks, indices and all.
    """

    tensors: tuple[TensorReport, ...]
    bytes_file: int
    bytes_before: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bytes_before", sum(row.bytes_before for row in self.tensors))

    @property
    def rate(self) -> float:
        """How many times smaller the file is than its tensors are in memory."""
        return self.bytes_before / self.bytes_file

    @property
    def kept_share(self) -> float:
        """Share of all elements that are not zero."""
        return sum(row.kept for row in self.tensors) / max(1, sum(row.weights for row in self.tensors))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Plain values for tables and JSON, one row a tensor."""
        for row in self.tensors:
            yield {
                "name": row.name,
                "weights": row.weights,
                "kept": row.kept_share,
                "form": row.form,
                "weight_bits": row.weight_bits,
                "weight_bits_stored": row.weight_bits_stored,
                "index_bits": row.index_bits,
                "index_bits_stored": row.index_bits_stored,
                "bytes_before": row.bytes_before,
                "bytes_stored": row.bytes_stored,
                "size": row.size_share,
            }

    def __str__(self) -> str:
        titles = ("", "weights", "kept", "weight bits", "index bits", "bytes", "size")
        table = [titles, *(_line(row) for row in self.tensors)]
        weights = sum(row.weights for row in self.tensors)
        share = 1 / self.rate if self.bytes_before else 1.0
        table.append(("file", str(weights), f"{self.kept_share:.1%}", "", "", str(self.bytes_file), f"{share:.2%}"))
        widths = [max(len(line[i]) for line in table) for i in range(len(titles))]
        lines = [
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            )
            for line in table
        ]
        return "\n".join([*lines, f"{self.rate:.1f} times smaller than {self.bytes_before} bytes"])


def compression_rate(weights: int, clusters: int, *, bits: int = 32) -> float:
    r"""How many times smaller weights become by sharing alone, codebook included.

    .. math:: r = \frac{n b}{n \log_2 k + k b}

    Args:
        weights: n, at least 1.
        clusters: k values that they share, at least 1.
        bits: b, of a weight before and of a value of the codebook.

    Returns:
        The rate.

    Raises:
        ValueError: If a count is below 1.

    Example:
        >>> compression_rate(16, 4)
        3.2

    References:
        Han, Mao and Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), equation 1.
    """
    for name, count in (("weights", weights), ("clusters", clusters), ("bits", bits)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    return weights * bits / (weights * math.log2(clusters) + clusters * bits)


def report_of(stored: list[Encoded], state: dict[str, Tensor], bytes_file: int) -> Report:
    """The report on a file that holds these tensors in these sections."""
    return Report(tuple(_row(tensor, state[tensor.name]) for tensor in stored), bytes_file)


def _row(stored: Encoded, tensor: Tensor) -> TensorReport:
    values = stored.sections["codes" if stored.code_bits else "values"]
    gaps = stored.sections.get("gaps")
    entries = max(1, stored.entries)
    return TensorReport(
        name=stored.name,
        weights=tensor.numel(),
        kept=int(tensor.count_nonzero()),
        form=stored.form,
        weight_bits=stored.code_bits or 8 * tensor.element_size(),
        weight_bits_stored=8 * len(values.data) / entries,
        index_bits=stored.gap_bits,
        index_bits_stored=8 * len(gaps.data) / entries if gaps is not None else 0.0,
        bytes_before=tensor.numel() * tensor.element_size(),
        bytes_stored=stored.size,
    )


def _line(row: TensorReport) -> tuple[str, ...]:
    index = f"{row.index_bits} → {row.index_bits_stored:.1f}" if row.index_bits else ""
    return (
        row.name,
        str(row.weights),
        f"{row.kept_share:.1%}",
        f"{row.weight_bits} → {row.weight_bits_stored:.1f}",
        index,
        str(row.bytes_stored),
        f"{row.size_share:.2%}",
    )
