"""Studies: networks scaled, trained alike, costed, and compared layer by layer, from a description to a report.

.. code-block:: python

    study = Study(title="Wider", family="cifar_resnet20", data=digits(), variants=(Variant("wider", Scaling(width=2)),))
    result = run(study, "outputs/wider")  # outputs/wider/report.html

    found = search("cifar_resnet8", digits(), image_size=8, budget=120, strategy="halving")
    model = build("cifar_resnet8", scaling=found.compound(2))
"""

from __future__ import annotations

from pyscale.studies import laws
from pyscale.studies.coefficient_search import search
from pyscale.studies.deep_compression import PLANS, CompressionPlan, DeeplyCompressed, Stage, compress_deeply
from pyscale.studies.demonstration import demo, demo_study
from pyscale.studies.findings import Finding, findings
from pyscale.studies.layer_matching import LayerMatching, match_layers
from pyscale.studies.results import PairedAnswers, StudyResult
from pyscale.studies.running import Step, run
from pyscale.studies.search_comparison import SearchComparison, compare_searches
from pyscale.studies.search_planning import SearchPlan, search_plan
from pyscale.studies.search_results import SearchResult
from pyscale.studies.study import Study, Variant

__all__ = [
    "PLANS",
    "CompressionPlan",
    "DeeplyCompressed",
    "Finding",
    "LayerMatching",
    "PairedAnswers",
    "SearchComparison",
    "SearchPlan",
    "SearchResult",
    "Stage",
    "Step",
    "Study",
    "StudyResult",
    "Variant",
    "compare_searches",
    "compress_deeply",
    "demo",
    "demo_study",
    "findings",
    "laws",
    "match_layers",
    "run",
    "search",
    "search_plan",
]
