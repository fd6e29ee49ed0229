"""Training: data at any resolution, fitting on Lightning, and accuracy with an interval.

.. code-block:: python

    data = digits()
    trained = fit(model, data, epochs=16, seed=0, out="runs/baseline")
    print(trained.accuracy)  # 98.6 % (96.8 to 99.4)
"""

from __future__ import annotations

from pyscale.train.accuracy import Accuracy, ClassCount
from pyscale.train.arrays import from_arrays, from_npz
from pyscale.train.data import Data
from pyscale.train.datasets import from_datasets
from pyscale.train.distillation import Distillation
from pyscale.train.embedded import digits
from pyscale.train.errors import DivergenceError
from pyscale.train.evaluation import evaluate
from pyscale.train.fitting import fit
from pyscale.train.folders import image_folder
from pyscale.train.hugging_face import from_hugging_face
from pyscale.train.recipes import DIGITS, PICTURES, Recipe
from pyscale.train.results import History, Trained

__all__ = [
    "DIGITS",
    "PICTURES",
    "Accuracy",
    "ClassCount",
    "Data",
    "Distillation",
    "DivergenceError",
    "History",
    "Recipe",
    "Trained",
    "digits",
    "evaluate",
    "fit",
    "from_arrays",
    "from_datasets",
    "from_hugging_face",
    "from_npz",
    "image_folder",
]
