"""Plain NumPy and Python written from the formulas; nothing here comes from the package."""

from __future__ import annotations

import math

import numpy as np


def wilson(correct, total, z=1.959963984540054):
    p = correct / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return (centre - half) / (1 + z * z / total), (centre + half) / (1 + z * z / total)


def binomial_upper_tail(correct, total, p):
    """P(X >= correct) of X ~ Binomial(total, p)."""
    return sum(math.comb(total, k) * p**k * (1 - p) ** (total - k) for k in range(correct, total + 1))


def triangle_weights(source, target):
    """(target, source) weights of antialiased linear interpolation: a triangle as wide as the larger pixel."""
    scale = source / target
    support = max(scale, 1.0)
    weights = np.zeros((target, source))
    for out in range(target):
        centre = (out + 0.5) * scale
        for pixel in range(source):
            weights[out, pixel] = max(0.0, 1 - abs(pixel + 0.5 - centre) / support)
    return weights / weights.sum(1, keepdims=True)


def resize(images, size):
    """Images (n, c, h, w) float64 resized along both axes."""
    rows = triangle_weights(images.shape[2], size[0])
    columns = triangle_weights(images.shape[3], size[1])
    return np.einsum("yh,nchw,xw->ncyx", rows, images, columns)


def one_cycle(step, steps, peak, warmup):
    """Smith's one cycle in its cosine form: peak/25 up to peak, then down to peak/25/10^4."""
    first, last, top = peak / 25, peak / 25 / 1e4, warmup * steps - 1

    def cosine(a, b, share):
        return b + (a - b) * (1 + math.cos(math.pi * share)) / 2

    return cosine(first, peak, step / top) if step <= top else cosine(peak, last, (step - top) / (steps - 1 - top))
