"""``python -m benchmarks.gpu``: ceilings of a CUDA device, every kernel beside torch, a whole comparison."""
