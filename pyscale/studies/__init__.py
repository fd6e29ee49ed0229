"""Studies: networks scaled or compressed, costed, and compared layer by layer, from a description to a report.

.. code-block:: python

    study = Study(title="Wider", family="cifar_resnet20", data=digits(), variants=(Variant("wider", Scaling(width=2)),))
    result = run(study, "outputs/wider")  # outputs/wider/report.html
    run("studies/resnet.yaml")  # outputs/resnet/report.html
"""

from __future__ import annotations

from pyscale.studies import laws
from pyscale.studies.budgets import Budget, BudgetError, Compression
from pyscale.studies.contenders import EqualBudgetResult
from pyscale.studies.deep_compression import PLANS, CompressionPlan, DeeplyCompressed, Stage, compress_deeply
from pyscale.studies.demonstration import demo, demo_study
from pyscale.studies.equal_budgets import EqualBudgets
from pyscale.studies.estimates import Estimate, estimate
from pyscale.studies.findings import Finding, findings
from pyscale.studies.results import PairedAnswers, StudyResult
from pyscale.studies.running import Step, run
from pyscale.studies.sources import Source
from pyscale.studies.study import Study, Variant
from pyscale.studies.sweeps import Costs, Sweep

__all__ = [
    "PLANS",
    "Budget",
    "BudgetError",
    "Compression",
    "CompressionPlan",
    "Costs",
    "DeeplyCompressed",
    "EqualBudgetResult",
    "EqualBudgets",
    "Estimate",
    "Finding",
    "PairedAnswers",
    "Source",
    "Stage",
    "Step",
    "Study",
    "StudyResult",
    "Sweep",
    "Variant",
    "compress_deeply",
    "demo",
    "demo_study",
    "estimate",
    "findings",
    "laws",
    "run",
]
