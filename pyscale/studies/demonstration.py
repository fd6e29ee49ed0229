"""The study that ships with the package: a small residual network, deeper, wider, higher in resolution, or all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path

from pyscale.models import Scaling, compound
from pyscale.studies.results import StudyResult
from pyscale.studies.running import Step, run
from pyscale.studies.study import Study, Variant
from pyscale.train import digits


def demo_study(*, seed: int = 0, quick: bool = False) -> Study:
    """A CIFAR ResNet-20 on scikit-learn's digits, and four ways to spend about twice its multiply-accumulates.

    The baseline serves the 8 x 8 digits at 10 pixels: there every variant, after its blocks, channels and pixels are
    rounded, costs between 1.8 and 2.2 times as much as the baseline.

    Args:
        seed: Of every network but the twin, whose seed is the next.
        quick: A few pictures and two epochs: for looking at how it works, not at what it finds.

    Returns:
        The study.

    Example:
        >>> [variant.name for variant in demo_study().variants]
        ['deeper', 'wider', 'higher-resolution', 'compound']
    """
    study = Study(
        title="What scaling a CNN buys, and what it changes inside",
        family="cifar_resnet20",
        image_size=10,
        data=digits(),
        variants=(
            Variant("deeper", Scaling(depth=2), "twice the blocks"),
            Variant("wider", Scaling(width=sqrt(2)), "√2 times the channels"),
            Variant("higher-resolution", Scaling(resolution=sqrt(2)), "√2 times the resolution"),
            Variant("compound", compound(1), "1.2 times the blocks, 1.1 the channels, 1.15 the resolution"),
        ),
        epochs=8,
        seed=seed,
        twin_seeds=(seed + 1,),
        key_layers=("relu", "*.relu#1", "linear"),
    )
    return replace(study, data=study.data.subset(200, test=200), epochs=2, batch_size=50) if quick else study


def demo(
    out: str | Path = "outputs/demo",
    *,
    seed: int = 0,
    quick: bool = False,
    resume: bool = True,
    progress: bool = True,
    on_step: Callable[[Step], None] | None = None,
) -> StudyResult:
    """Run :func:`demo_study` and write its report: under four minutes on two cores.

    Args:
        out: The folder; ``report.html`` in it is what to look at.
        seed: See :func:`demo_study`.
        quick: See :func:`demo_study`.
        resume: False trains anew.
        progress: Whether the trainings' progress bars are shown.
        on_step: Called as each part begins.

    Returns:
        Everything that was measured.

    Raises:
        ValueError: If ``out`` holds trainings of another study.
        ImportError: If the ``train`` or the ``report`` extra is not installed.
    """
    return run(demo_study(seed=seed, quick=quick), out, resume=resume, progress=progress, on_step=on_step)
