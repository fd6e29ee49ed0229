"""Laws of scaling: what each dimension costs, what it buys, and which is best for a network of a given size.

.. code-block:: python

    from pyscale.studies import laws

    table = laws.PUBLISHED["mobilenet_v1"]
    error = laws.fit_error_law(table.errors, table.factors)
    cost = table.cost_law()
    print(laws.best_dimension(error, cost, width=0.5, resolution=1))
    print(laws.equal_shares(error, cost, budget=0.25).text)
    laws.study_table("outputs/resnet")  # the same of one's own study
"""

from __future__ import annotations

from pyscale.studies.laws.allocation import BestDimension, Split, best_dimension, best_split
from pyscale.studies.laws.cost import CostLaw, count_costs, counted_cost_law, fit_cost_law, textbook_cost_law
from pyscale.studies.laws.error import ErrorLaw, fit_error_law
from pyscale.studies.laws.estimates import Estimate
from pyscale.studies.laws.folklore import NotTested, Verdict, equal_share_budgets, equal_shares, usual_budgets
from pyscale.studies.laws.measured import study_table
from pyscale.studies.laws.published import PUBLISHED
from pyscale.studies.laws.tables import NetworkTable

__all__ = [
    "PUBLISHED",
    "BestDimension",
    "CostLaw",
    "ErrorLaw",
    "Estimate",
    "NetworkTable",
    "NotTested",
    "Split",
    "Verdict",
    "best_dimension",
    "best_split",
    "count_costs",
    "counted_cost_law",
    "equal_share_budgets",
    "equal_shares",
    "fit_cost_law",
    "fit_error_law",
    "study_table",
    "textbook_cost_law",
    "usual_budgets",
]
