"""Studies: networks scaled, trained alike, costed, and compared layer by layer, from a description to a report.

.. code-block:: python

    study = Study(title="Wider", family="cifar_resnet20", data=digits(), variants=(Variant("wider", Scaling(width=2)),))
    result = run(study, "outputs/wider")  # outputs/wider/report.html
"""

from __future__ import annotations

from pyscale.studies import laws
from pyscale.studies.deep_compression import PLANS, CompressionPlan, DeeplyCompressed, Stage, compress_deeply
from pyscale.studies.demonstration import demo, demo_study
from pyscale.studies.findings import Finding, findings
from pyscale.studies.results import PairedAnswers, StudyResult
from pyscale.studies.running import Step, run
from pyscale.studies.study import Study, Variant

__all__ = [
    "PLANS",
    "CompressionPlan",
    "DeeplyCompressed",
    "Finding",
    "PairedAnswers",
    "Stage",
    "Step",
    "Study",
    "StudyResult",
    "Variant",
    "compress_deeply",
    "demo",
    "demo_study",
    "findings",
    "laws",
    "run",
]
