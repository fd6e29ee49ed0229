"""Devices as users name them."""

from __future__ import annotations

import torch


def check_device(device: torch.device | str) -> torch.device:
    """Return the device with its number; ValueError where there is no such device here."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise ValueError(f"device is {str(device)!r}, which can't be used: {str(error).splitlines()[0]}") from error
