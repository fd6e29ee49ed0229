"""Networks that scale in depth, width and resolution, and what they cost."""

from __future__ import annotations

from pyscale.models.architecture import Architecture, Network
from pyscale.models.budgets import scale_to
from pyscale.models.building import build, rebuild
from pyscale.models.profiling import Profile, profile
from pyscale.models.recipe import Recipe
from pyscale.models.registry import names
from pyscale.models.scaling import Scaling, compound
from pyscale.models.shares import RULES, Shares, fast_compound

__all__ = [
    "RULES",
    "Architecture",
    "Network",
    "Profile",
    "Recipe",
    "Scaling",
    "Shares",
    "build",
    "compound",
    "fast_compound",
    "names",
    "profile",
    "rebuild",
    "scale_to",
]
