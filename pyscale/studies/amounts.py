"""How much must go: the least amount of pruning that keeps a trained network within a budget."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import torch
from torch import nn

from pyscale.compress import prune, save, share_weights
from pyscale.models import profile
from pyscale.models.timing import latency_share
from pyscale.studies.budgets import Budget, BudgetError, Compression, Resource

_MOST = {"weight": 0.999, "channel": 0.995}
_STEPS = {"weight": 16, "channel": 10}  # halvings of the amount
_LATENCY_STEPS = 6
_CLOSE = 0.995  # of a budget used is near enough
_MARGIN = 0.98  # of a file's bytes: what fine-tuning, which comes after the search, may add


def file_bytes(network: nn.Module, *, sparse: bool) -> int:
    """Bytes of the file that holds a network's state dict.

    Args:
        network: Whose.
        sparse: True writes a ``.psz`` file, False lets torch save.

    Returns:
        The size of the whole file.
    """
    if not sparse:
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        return len(file.getvalue())
    with tempfile.TemporaryDirectory() as folder:
        return save(network, Path(folder) / "network.psz").bytes_file


def cost_of(network: nn.Module, resource: Resource, *, sparse: bool, original: nn.Module) -> float:
    """What a network costs of a resource.

    Args:
        network: Whose cost.
        resource: Parameters are those that are not zero. A latency is a share of the original's, measured in turns with
            it, since seconds hold for one load of the machine only.
        sparse: Of bytes: whether the file is a ``.psz``.
        original: The network that latency is a share of; its own is 1.

    Returns:
        The cost in the resource's own unit.
    """
    if resource == "bytes":
        return file_bytes(network, sparse=sparse)
    if resource == "parameters":
        return sum(int(torch.count_nonzero(parameter)) for parameter in network.parameters())
    if resource == "latency":
        return 1.0 if network is original else latency_share(network, original)
    return profile(network, repeats=0).macs


def least_amount(original: nn.Module, compression: Compression, limit: float) -> float:
    """Find the least amount that brings a network within its budget, by bisection over true counts.

    Files are measured before fine-tuning, whose later changes of the values change their size a little; 2 % of the
    budget are kept free for it.

    Args:
        original: The trained network.
        compression: With a budget.
        limit: Of the budget's resource, in the unit of :func:`cost_of`.

    Returns:
        The amount.

    Raises:
        BudgetError: If the most that can be removed is not enough.
    """
    assert compression.budget is not None
    resource, granularity = compression.budget.resource, compression.granularity
    allowed = limit * (_MARGIN if resource == "bytes" and compression.in_sparse_file else 1.0)

    def cost(amount: float) -> float:
        network = prune(original, amount, granularity=granularity, scope=compression.scope)
        if compression.bits is not None and resource == "bytes":
            share_weights(network, compression.bits, inplace=True)
        return cost_of(network, resource, sparse=compression.in_sparse_file, original=original)

    if cost(0.0) <= allowed:
        return 0.0
    most = _MOST[granularity]
    if cost(most) > allowed:
        raise BudgetError(
            f"even without {100 * most:g} % of its {granularity}s it costs more than {compression.budget}"
        )
    inside, outside = most, 0.0
    for _ in range(_LATENCY_STEPS if resource == "latency" else _STEPS[granularity]):
        middle = (inside + outside) / 2
        spent = cost(middle)
        inside, outside = (middle, outside) if spent <= allowed else (inside, middle)
        if _CLOSE * allowed <= spent <= allowed:
            break
    return inside


def limit_of(budget: Budget, original: nn.Module) -> float:
    """A budget in the unit of :func:`cost_of`, for networks made of this one."""
    if budget.limit >= 1:
        return budget.limit
    return budget.of(cost_of(original, budget.resource, sparse=False, original=original))
