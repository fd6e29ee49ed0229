"""The one table of tolerances: largest relative error allowed against a float64 oracle of the same (rounded) inputs."""

from __future__ import annotations

# float16 and bfloat16 inputs are held to float32's tolerance: their products are added in float32 or wider.
RELATIVE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-5, "bfloat16": 1e-5}
