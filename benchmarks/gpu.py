"""The table of ``make gpu``: the Gram kernel beside torch's own product, on a CUDA device.

python -m benchmarks.gpu --device cuda     measure, print, append to results/gpu.csv
python -m benchmarks.gpu --device cpu      rehearse the script where there is no GPU; nothing is written
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.provenance import append_rows, provenance
from benchmarks.racing import race, rows
from pyscale import ops

SHAPES = {
    "cuda": [(64, 1_000_000), (128, 1_000_000), (256, 200_704), (512, 65_536), (1024, 65_536)],
    "cpu": [(64, 512)],
}
DTYPES = (torch.float32, torch.bfloat16)


def torch_gram(x):
    K = (x @ x.T).float()
    rows = K.mean(dim=1)
    return K - rows[:, None] - rows[None, :] + rows.mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = parser.parse_args().device
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    origin = provenance(device)
    found = []
    print(
        f"{'op':<14}{'n':>6}{'p':>9} {'dtype':<9}{'provider':<18}{'ms':>10}{'p20':>10}{'p80':>10}{'x ours':>8}  error"
    )
    for n, p in SHAPES[device]:
        for dtype in DTYPES:
            x = torch.randn(n, p, device=device).relu().to(dtype)
            truth = ops.centered_gram(x[:, : min(p, 65_536)].double())
            errors = {
                name: float((call(x[:, : min(p, 65_536)]) - truth).norm() / truth.norm())
                for name, call in {"pyscale": ops.centered_gram, "torch mm + centring": torch_gram}.items()
            }
            timings = race(
                {"pyscale": lambda x=x: ops.centered_gram(x), "torch mm + centring": lambda x=x: torch_gram(x)},
                wait=wait,
            )
            name = str(dtype).removeprefix("torch.")
            for row in rows({"op": "centered_gram", "n": n, "p": p, "dtype": name}, timings, "pyscale", origin):
                error = errors[str(row["provider"])]
                found.append({**row, "relative_error": f"{error:.2e}"})
                print(
                    f"{row['op']:<14}{n:>6}{p:>9} {name:<9}{row['provider']:<18.18}{row['median_ms']:>10}"
                    f"{row['p20_ms']:>10}{row['p80_ms']:>10}{row['times_ours']:>8}  {error:.1e}"
                )
    if device == "cuda":
        print(f"rows appended to {append_rows('gpu', found)}")


if __name__ == "__main__":
    main()
