"""``pyscale doctor``."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Annotated, Any

import typer

from pyscale.cli.console import FAILURE, command, show_json, stdout_kept_clean

TOLERANCE = 1e-12


@dataclass(frozen=True)
class Check:
    """Something that must hold for the numbers to be right."""

    name: str
    ok: bool
    detail: str


@command
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """What was built, what of it this machine uses, and whether it computes what it should. Exit code 1 if not."""
    with stdout_kept_clean():
        report = examine()
    if as_json:
        show_json(report)
    else:
        _show(report)
    if not report["ok"]:
        raise typer.Exit(FAILURE)


def examine() -> dict[str, Any]:
    """Versions, native core, GPU, optional libraries and checks, as JSON types."""
    import numpy as np
    import torch

    from pyscale.ops import build_info
    from pyscale.studies.provenance import available_cores, processor_name

    info = build_info()
    checks = [_check_version(info.version), _check_numbers(), _check_cuda(info.cuda)]
    return {
        "ok": all(check.ok for check in checks),
        "pyscale": version("pyscale"),
        "native": {
            "version": info.version,
            "instruction_set": info.isa,
            "instruction_sets": list(info.isas),
            "cuda": info.cuda,
            "cuda_architectures": info.cuda_architectures,
        },
        "machine": {
            "processor": processor_name(),
            "cores": available_cores(),
            "system": platform.platform(terse=True),
            "gpus": list(info.cuda_devices),
        },
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "torch": {
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "threads": torch.get_num_threads(),
        },
        "numpy": np.__version__,
        "extras": _extras(),
        "checks": [asdict(check) for check in checks],
    }


def _check_version(native: str) -> Check:
    package = version("pyscale")
    agree = native == package
    detail = f"both {package}" if agree else f"package {package}, native core {native}: build again (pip install .)"
    return Check("the native core belongs to this package", agree, detail)


def _check_numbers() -> Check:
    """Unbiased CKA of fixed data by the kernels, beside the definition written out in plain torch."""
    import torch

    from pyscale.metrics import cka

    i = torch.arange(48, dtype=torch.float64)
    x = torch.sin(torch.outer(i + 1, torch.arange(1, 8, dtype=torch.float64)))
    y = x[:, :5] + torch.cos(torch.outer(i, torch.arange(2, 7, dtype=torch.float64)))
    error = abs(float(cka(x, y)) - _cka_by_definition(x, y))
    return Check("the kernels compute CKA", error < TOLERANCE, f"error {error:.1g}")


def _cka_by_definition(x: Any, y: Any) -> float:
    def hsic(K: Any, L: Any) -> float:
        n = len(K)
        a, b = K.sum(1), L.sum(1)
        return float((K * L).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (a @ b))

    K, L = (z @ z.T for z in (x, y))
    K.fill_diagonal_(0)
    L.fill_diagonal_(0)
    return float(hsic(K, L) / (hsic(K, K) * hsic(L, L)) ** 0.5)


def _check_cuda(built: bool) -> Check:
    """A GPU that torch can use while the kernels were built without CUDA works, but slowly: said, not failed."""
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", True, "torch sees none")
    return Check("GPU", True, "used" if built else "kernels were built without CUDA: plain torch is used on it")


def _extras() -> dict[str, dict[str, str | None]]:
    """The optional libraries by extra, with the version installed or None."""
    found: dict[str, dict[str, str | None]] = {}
    for requirement in requires("pyscale") or []:
        name, _, marker = requirement.partition(";")
        _, _, extra = marker.partition("extra ==")
        extra = extra.strip().strip("\"'")
        library = name.partition("[")[0].partition(">")[0].partition("=")[0].strip()
        if extra and library != "pyscale":
            found.setdefault(extra, {})[library] = _installed(library)
    return found


def _installed(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _show(report: dict[str, Any]) -> None:
    native, machine, torch = report["native"], report["machine"], report["torch"]
    cuda = f"CUDA for {native['cuda_architectures']}" if native["cuda"] else "no CUDA"
    lines = {
        "pyscale": report["pyscale"],
        "native core": f"{native['version']}, {cuda}",
        "instruction set": f"{native['instruction_set']} of {', '.join(native['instruction_sets'])}",
        "processor": f"{machine['processor']}, {machine['cores']} cores",
        "GPUs": ", ".join(machine["gpus"]) or "none",
        "system": machine["system"],
        "python": f"{report['python']['version']} ({report['python']['executable']})",
        "torch": f"{torch['version']}, {torch['threads']} threads, CUDA {torch['cuda'] or 'none'}",
        "numpy": report["numpy"],
    }
    for extra, libraries in report["extras"].items():
        lines[f"[{extra}]"] = ", ".join(f"{name} {found or 'MISSING'}" for name, found in libraries.items())
    for check in report["checks"]:
        lines[check["name"]] = f"{'ok' if check['ok'] else 'FAILED'}, {check['detail']}"
    width = max(map(len, lines))
    for name, value in lines.items():
        typer.echo(f"{name:<{width}}  {value}")
