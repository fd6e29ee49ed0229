"""What a study may be, and what it is told when it may not."""

from __future__ import annotations

import json

import pytest

from pyscale.models import Scaling
from pyscale.studies import Variant, demo_study
from tests.studies.miniature import miniature_study


@pytest.mark.parametrize("name", ["", "../out", "a b", ".hidden", "a/b"])
def test_a_variants_name_must_be_fit_for_a_folder(name):
    with pytest.raises(ValueError, match="name"):
        Variant(name)


def test_a_variant_wants_a_scaling():
    with pytest.raises(TypeError, match="scaling must be a Scaling, got float"):
        Variant("wider", 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": (Variant("a"), Variant("a"))}, "variants: .*'a'"),
        ({"variants": (Variant("baseline"),)}, "variants: .*'baseline'"),
        ({"variants": (), "twin_seeds": ()}, "nothing to compare"),
        ({"twin_seeds": (0,)}, "twin_seeds must differ from seed"),
        ({"metrics": ("cka", "pwcca")}, "metrics must be some of"),
        ({"metrics": ()}, "metrics must be some of"),
        ({"batch_size": 3}, "batch_size must be at least 4"),
        ({"threads": 0}, "threads must be at least 1"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        miniature_study(**changes)


def test_data_must_be_data():
    with pytest.raises(TypeError, match=r"data must be a pyscale\.train\.Data, got str"):
        miniature_study(data="digits")


def test_members_are_the_baseline_its_twins_and_the_variants():
    study = miniature_study(seed=4, twin_seeds=(7, 9))
    assert [member.name for member in study.members][:4] == ["baseline", "baseline-seed7", "baseline-seed9", "wider"]
    assert [study.seed_of(member) for member in study.members] == [4, 7, 9, 4, 4, 4]
    assert all(twin.scaling == study.baseline for twin in study.twins)


def test_a_study_is_json():
    described = json.loads(json.dumps(miniature_study().to_dict()))
    assert described["data"] == {
        "name": "digits",
        "train": 120,
        "test": 180,
        "classes": 10,
        "channels": 1,
        "image_size": 8,
    }
    assert described["variants"][1]["scaling"] == {"depth": 2.0, "width": 1.0, "resolution": 1.0}


def test_the_demo_scales_each_dimension_and_all():
    scalings = {variant.name: variant.scaling for variant in demo_study().variants}
    assert scalings == {
        "deeper": Scaling(depth=2),
        "wider": Scaling(width=2**0.5),
        "higher-resolution": Scaling(resolution=2**0.5),
        "compound": Scaling(1.2, 1.1, 1.15),
    }


def test_its_networks_can_be_given_to_a_law(miniature):
    """From the result as from its folder."""
    from pyscale.studies import laws

    table, read = laws.study_table(miniature), laws.study_table(miniature.out)
    for name in ("depth", "width", "resolution", "top1", "macs", "pictures"):
        assert getattr(table, name) == getattr(read, name)
    assert table.name == miniature.study.title
    assert table.top1 == tuple(member.trained.accuracy.value for member in miniature.members)
    assert table.pictures == miniature.baseline.trained.accuracy.total
