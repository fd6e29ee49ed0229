"""Studies: networks scaled or compressed, costed, and compared layer by layer, from a description to a report.

.. code-block:: python

    study = Study(title="Wider", family="cifar_resnet20", data=digits(), variants=(Variant("wider", Scaling(width=2)),))
    result = run(study, "outputs/wider")  # outputs/wider/report.html

    found = search("cifar_resnet8", digits(), image_size=8, budget=120, strategy="halving")
    model = build("cifar_resnet8", scaling=found.compound(2))
    run("studies/resnet.yaml")  # outputs/resnet/report.html
"""

from __future__ import annotations

from pyscale.studies import laws
from pyscale.studies.budgets import Budget, BudgetError, Compression
from pyscale.studies.coefficients.comparing import SearchComparison, compare_searches
from pyscale.studies.coefficients.planning import SearchPlan, search_plan
from pyscale.studies.coefficients.results import SearchResult
from pyscale.studies.coefficients.searching import search
from pyscale.studies.coefficients.stored import open_search
from pyscale.studies.compression_plans import PLANS, CompressionPlan
from pyscale.studies.deep_compression import DeeplyCompressed, Stage, compress_deeply
from pyscale.studies.demonstration import demo, demo_study
from pyscale.studies.equal_budget.contenders import EqualBudgetResult
from pyscale.studies.equal_budget.question import EqualBudgets
from pyscale.studies.estimates import Estimate, estimate
from pyscale.studies.findings import Finding, findings
from pyscale.studies.matching.counting import LayerMatching, match_layers
from pyscale.studies.results import PairedAnswers, StudyResult
from pyscale.studies.running import Step, run
from pyscale.studies.sources import Source
from pyscale.studies.study import Study, Variant
from pyscale.studies.sweeps import Costs, Sweep
from pyscale.studies.weight_similarity.question import NamedNetwork, Part, WeightSimilarity

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
    "LayerMatching",
    "NamedNetwork",
    "PairedAnswers",
    "Part",
    "SearchComparison",
    "SearchPlan",
    "SearchResult",
    "Source",
    "Stage",
    "Step",
    "Study",
    "StudyResult",
    "Sweep",
    "Variant",
    "WeightSimilarity",
    "compare_searches",
    "compress_deeply",
    "demo",
    "demo_study",
    "estimate",
    "findings",
    "laws",
    "match_layers",
    "open_search",
    "run",
    "search",
    "search_plan",
]
