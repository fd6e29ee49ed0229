"""A study as a file: the way there and back, and what a wrong file is told."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.models import Scaling, build, compound, profile
from pyscale.studies import (
    Budget,
    Compression,
    Costs,
    EqualBudgets,
    NamedNetwork,
    Part,
    Source,
    Study,
    Sweep,
    Variant,
    WeightSimilarity,
)
from pyscale.studies.documents.reading import parse_study
from tests.studies.miniature import miniature_study
from tests.studies.test_resume import ROOT

LEAST = """\
title: Least
family: cifar_resnet8
image_size: 8
data: {train: 120, test: 180}
"""
SOURCE = Source(train=120, test=180)
DATA = SOURCE.open()

factors = st.floats(0.25, 4.0)
scalings = st.builds(Scaling, factors, factors, factors)
names = st.text("abcXYZ019-_.", min_size=1, max_size=8).filter(lambda name: name[0] != ".")
notes = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20)
channel_budgets = st.builds(
    Budget, st.sampled_from(["macs", "parameters", "bytes", "latency"]), st.floats(0.01, 0.99)
) | st.builds(Budget, st.just("macs"), st.floats(1, 1e9))
weight_budgets = st.builds(Budget, st.sampled_from(["parameters", "bytes"]), st.floats(0.01, 0.99))
bits = st.none() | st.integers(1, 8)
compressions = (
    st.builds(
        Compression,
        amount=st.floats(0, 0.99),
        bits=bits,
        epochs=st.integers(1, 9),
        scope=st.sampled_from(["global", "layer"]),
        schedule=st.sampled_from([None, "cubic", "iterative"]),
        steps=st.integers(1, 9),
    )
    | st.builds(Compression, granularity=st.just("channel"), budget=channel_budgets, bits=bits)
    | st.builds(Compression, budget=weight_budgets, sharing_epochs=st.integers(1, 9))
)
variants = (
    st.builds(Variant, names, scalings, notes, st.none() | st.integers(0, 99))
    | st.builds(Variant, names, note=notes, seed=st.sampled_from([None, 7, 8]), compression=compressions)
    | st.builds(Variant, names, scalings, weights=st.just("~/checkpoints/w.pth"))
)
shares = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True).map(tuple)
resources = st.lists(st.sampled_from(["macs", "bytes", "latency"]), min_size=1, unique=True).map(tuple)
contests = st.builds(EqualBudgets, shares=shares, resources=resources, bits=st.integers(1, 8))
sweeps = st.builds(Sweep, name=st.just("all"), phi=st.lists(factors, min_size=1).map(tuple), depth=factors)
named = st.builds(
    NamedNetwork, family=st.just("resnet18"), weights=st.none() | st.just("w.pth"), name=names | st.just("")
)
parts = st.tuples(st.builds(Part, name=notes, layer=notes, rows=st.sampled_from(["inputs", "outputs"])))
weight_metrics = st.sampled_from([("cka",), ("cca_r2", "cka_biased")])
weight_similarities = st.builds(WeightSimilarity, parts=parts, metrics=weight_metrics) | st.builds(
    WeightSimilarity,
    parts=parts,
    baseline=named,
    others=st.tuples(st.builds(NamedNetwork, family=st.just("resnet34"))),
)
studies = st.builds(
    Study,
    title=notes,
    family=st.sampled_from(["cifar_resnet8", "mobilenet_v2"]),
    variants=st.lists(variants, max_size=4, unique_by=lambda variant: variant.name).map(tuple),
    data=st.just(DATA),
    source=st.just(SOURCE),
    baseline=scalings,
    image_size=st.none() | st.integers(8, 64),
    epochs=st.none() | st.integers(1, 99),
    seed=st.just(7),
    twin_seeds=st.just((8,)),
    metrics=st.sampled_from([("cka",), ("cca_r2", "cka")]),
    pairs=st.sampled_from(["baseline", "all"]),
    key_layers=st.lists(notes, max_size=2).map(tuple),
    cca_layers=st.lists(notes, max_size=2).map(tuple),
    logger=st.sampled_from([(), ("csv",), ("csv", "tensorboard")]),
    compare_weights=st.none() | weight_similarities,
    batch_size=st.integers(4, 99),
    recipe=st.fixed_dictionaries({}, optional={"lr": st.floats(1e-4, 1.0), "flip": st.booleans()}),
    name=names,
    equal_budget=st.none() | contests,
    costs=st.none() | st.builds(Costs, sweeps=st.tuples(sweeps), num_classes=st.none() | st.integers(1, 9)),
)


@settings(max_examples=25, deadline=None)
@given(study=studies)
def test_a_written_study_is_read_back(study):
    again = parse_study(study.to_yaml(), foresee=False)
    assert replace(again, data=study.data) == study
    assert repr(again.data) == repr(study.data)


@pytest.mark.parametrize(
    ("page", "start", "end"),
    [
        ("docs/studies.md", "```yaml\n", "```"),
        ("pyscale/studies/documents/reading.py", ".. code-block:: yaml\n", "\n\nKeys"),
    ],
)
def test_the_files_that_are_shown_are_right(page, start, end, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(build("cifar_resnet20", num_classes=10, in_channels=1).state_dict(), "resnet20.th")
    torch.save(build("lenet5").state_dict(), "lenet5.pth")
    study = parse_study(textwrap.dedent((ROOT / page).read_text().split(start)[1].split(end)[0]))
    assert {variant.kind for variant in study.variants} >= {"scaled", "channels", "deep"}
    assert study.equal_budget
    assert study.costs


def test_a_file_names_its_study(tmp_path):
    path = tmp_path / "narrow.yaml"
    path.write_text(LEAST)
    study = Study.from_yaml(path)
    assert (study.name, study.twin_seeds, study.source) == ("narrow", (1,), SOURCE)
    with pytest.raises(FileNotFoundError, match="no such file"):
        Study.from_yaml(tmp_path / "wide.yaml")


def test_every_way_of_scaling_is_read():
    study = parse_study(
        LEAST + "variants:\n"
        "  - {name: a, scale: {depth: 2}}\n"
        "  - {name: b, compound: 1.5}\n"
        "  - {name: c, compound: [1, 2, 0]}\n"
        "  - {name: d, compound: {phi: 1, alpha: 2, beta: 1, gamma: 1}}\n"
        "  - {name: g, compound: {phi: 4, max_resolution: 1.25}}\n"
        "  - {name: e, scale_to: {macs: 0.5, rule: r}}\n"
        "  - {name: f, scale_to: {parameters: 4e4, rule: w}}\n"
    )
    scalings = {variant.name: variant.scaling for variant in study.variants}
    assert scalings["a"] == Scaling(depth=2)
    assert scalings["b"] == compound(1.5)
    assert scalings["c"] == compound((1, 2, 0))
    assert scalings["g"] == compound(4, max_resolution=1.25)
    assert scalings["d"] == Scaling(depth=2)

    def count(cost, scaling):
        net = build("cifar_resnet8", scaling=scaling, in_channels=1, image_size=8)
        return getattr(profile(net, repeats=0), cost)

    assert count("macs", scalings["e"]) <= 0.5 * count("macs", Scaling())
    assert count("macs", Scaling(resolution=6 / 8)) > 0.5 * count("macs", Scaling())  # a pixel more is too many
    assert scalings["e"].resolution < 6 / 8
    assert count("parameters", scalings["f"]) <= 4e4


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("varaints: []", r"study, line 5: varaints: unknown key; did you mean variants\?"),
        ("data: {}", "line 5: data stands twice"),
        ("epochs: 0", "line 5: epochs: input should be greater than or equal to 1, got 0"),
        ("epochs: many", "line 5: epochs: input should be a valid integer, got 'many'"),
        ("epochs: true", "line 5: epochs: input should be a valid integer, got True"),
        ("baseline: {width: .inf}", "line 5: baseline.width: .*finite"),
        ("seed: 3\nmetrics: [cka, pwcca]", "line 6: metrics: metrics must be some of"),
        ("seed: 3\ntwin_seeds: [3]", "line 6: twin_seeds: twin_seeds must differ from seed"),
        ("seed: 1", "line 5: seed: twin_seeds must differ from seed"),
        ("epochs: 3\nrecipe: {epochs: 3}", "line 6: recipe.epochs: epochs are the study's"),
        ("seed: 3\nweights: w.pth", "line 6: weights: twin_seeds: a baseline with weights is not trained"),
        ("epochs: 3\nname: a/b", "line 6: name: name must be letters"),
        (
            "variants:\n- {name: a, compound: 1}\n- {name: b, compound: 1}\n- {name: a, compound: 1}",
            r"line 8: variants\[2\].name: every network needs a name of its own, got \['a'\]",
        ),
        (
            "variants:\n- {name: a, compress: {amount: 0.5}, seed: 7}",
            r"line 6: variants\[0\].seed: a is made of the baseline from seed 7",
        ),
        (
            "variants:\n- {name: a, compress: {parameters: 0.5, scope: network}}",
            r"line 6: variants\[0\].compress.scope: input should be 'global' or 'layer', got 'network'",
        ),
        ("seed: 3\nkey_layers: [relu, nope]", r"line 6: key_layers\[1\]: 'nope' is no layer of any network; there"),
        ("seed: 3\ncca_layers: [nope]", "line 6: cca_layers: expected some of the key layers of baseline, got no"),
        (
            "variants:\n- {name: a, weights: /nope.pth}",
            r"line 6: variants\[0\].weights: no such file: '/nope.pth'",
        ),
        ("costs: {family: nope, sweeps: [{name: d, phi: [1]}]}", "line 5: costs.family: name: unknown model 'nope'"),
        (
            "costs: {sweeps: [{name: d, phi: [1e9], depth: 2}]}",
            r"line 5: costs.sweeps\[0\]: phi: 1e\+09 makes a factor that is not a positive, finite number",
        ),
        (
            "compare_weights: {parts: [{name: stem, layer: nope}]}",
            r"line 5: compare_weights.parts\[0\].layer: 'nope' is no convolution or linear layer of baseline",
        ),
        (
            "compare_weights: {baseline: lenet5, parts: [{name: stem, layer: conv1}]}",
            "line 5: compare_weights: baseline and others go together",
        ),
        (
            "compare_weights: {baseline: lenet5, others: [nope], parts: [{name: stem, layer: conv1}]}",
            r"line 5: compare_weights.others\[0\]: nope: name: unknown model",
        ),
        ("logger: wandb", r"line 5: logger\[0\]: input should be 'csv' or 'tensorboard', got 'wandb'"),
        ("recipe: {learning_rate: 1}", "line 5: recipe: a recipe has no field 'learning_rate'"),
        ("variants:\n  - {name: a}", r"line 6: variants\[0\]: expected exactly one of scale, compound"),
        ("variants:\n  - name: a\n    scale: {deph: 2}", r"line 7: variants\[0\].scale.deph: .*did you mean depth"),
        ("variants:\n  - name: a/b\n    compound: 1", r"line 6: variants\[0\]: name must be letters"),
        (
            "variants:\n- {name: a, compound: [1, 2]}",
            r"line 6: variants\[0\].compound: phi: expected one number or thr",
        ),
        ("variants:\n- {name: a, compound: deep}", r"line 6: variants\[0\].compound.phi: expected a number, or three"),
        ("variants:\n- {name: a, compress: {amount: 1}}", r"line 6: variants\[0\].compress.amount: .*less than 1"),
        (
            "variants:\n- {name: a, compress: {macs: 0.5}}",
            r"line 6: variants\[0\].compress: budget: weights set to zer",
        ),
        ("variants:\n- {name: a, compress: {}}", r"line 6: variants\[0\].compress: expected exactly one of amount"),
        ("variants:\n- {name: a, scale_to: {macs: 1, bytes: 2}}", r"line 6: variants\[0\].scale_to: expected exactly"),
        ("variants:\n- {name: a, scale_to: {macs: 1.0}}", r"line 6: variants\[0\].scale_to: macs: expected at least"),
        ("equal_budget: {shares: [1.5]}", r"line 5: equal_budget.shares\[0\]: input should be less than 1, got 1.5"),
        ("equal_budget: {ways: [magic]}", "line 5: equal_budget: ways must be some of"),
        ("costs: {sweeps: [{name: d, phi: []}]}", r"line 5: costs.sweeps\[0\].phi: .*at least 1 item"),
        ("x: &a [*a]", "line 5: it holds itself"),
        ("x: !!python/object/apply:os.getcwd []", "line 5: not YAML: could not determine a constructor"),
        ("x: [", "not YAML: "),
        ("x: \0", "line 5: not YAML: special characters are not allowed"),
    ],
)
def test_a_wrong_file_is_told_line_and_key(added, message):
    with pytest.raises(ValueError, match=message):
        parse_study(LEAST + added + "\n")


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match=r"line 5: epochs(.|\n)*line 6: sed: unknown key; did you mean seed"):
        parse_study(LEAST + "epochs: -1\nsed: 3\n")


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="study, line 1: family: is missing"):
        parse_study("title: x\n")
    with pytest.raises(ValueError, match="empty file"):
        parse_study("")


def test_pictures_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"line 4: data: path: no such folder .*nowhere"):
        parse_study(LEAST.replace("{train: 120, test: 180}", f"{{kind: folder, path: {tmp_path}/nowhere}}"))
    with pytest.raises(ValueError, match="line 4: data: path: 'npz' needs one"):
        parse_study(LEAST.replace("{train: 120, test: 180}", "{kind: npz}"))


def test_a_checkpoint_of_another_network_is_named(tmp_path):
    torch.save(build("cifar_resnet20").state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"line 6: weights: .*w.pth' does not fit: .* another depth"):
        parse_study(LEAST + f"twin_seeds: []\nweights: {tmp_path}/w.pth\nvariants: [{{name: a, compound: 1}}]\n")


def test_pictures_in_memory_cannot_be_written():
    with pytest.raises(ValueError, match="source: "):
        miniature_study().to_yaml()
