"""Networks that scale in depth, width and resolution, and what they cost."""

from __future__ import annotations

from pyscale.models.architecture import Architecture, Network
from pyscale.models.building import build, rebuild
from pyscale.models.profiling import Profile, profile
from pyscale.models.recipe import Recipe
from pyscale.models.registry import names
from pyscale.models.scaling import Scaling, compound

__all__ = [
    "Architecture",
    "Network",
    "Profile",
    "Recipe",
    "Scaling",
    "build",
    "compound",
    "names",
    "profile",
    "rebuild",
]
