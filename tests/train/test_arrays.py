from __future__ import annotations

import pickle

import numpy as np
import pytest

from pyscale.train import from_arrays, from_npz

LABELS = np.array([0, 1, 2, 0, 1, 2])


def bytes_of(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_grey_pictures_get_a_channel():
    x = bytes_of(6, 5, 4)
    data = from_arrays(x, LABELS, x, LABELS)
    assert (data.channels, data.image_size, data.num_classes) == (1, (5, 4), 3)
    assert np.array_equal(data.train.images.numpy()[:, 0], x)


def test_colour_bytes_are_channels_last():
    x = bytes_of(6, 5, 4, 3)
    data = from_arrays(x, LABELS[:, None], x[:2], LABELS[:2])
    assert (data.channels, data.image_size) == (3, (5, 4))
    assert np.array_equal(data.train.images.numpy(), x.transpose(0, 3, 1, 2))
    assert data.labels("train").tolist() == LABELS.tolist()


def test_an_ambiguous_shape_is_read_by_its_kind():
    x = bytes_of(6, 3, 5, 3)
    assert from_arrays(x, LABELS, x, LABELS).image_size == (3, 5)
    assert from_arrays(x / 255, LABELS, x / 255, LABELS).image_size == (5, 3)


def test_floats_are_channels_first_with_any_channel_count():
    x = np.random.default_rng(0).normal(size=(6, 7, 5, 5))
    data = from_arrays(x, LABELS, x, LABELS)
    assert data.channels == 7
    assert data.mean == pytest.approx(x.astype(np.float32).mean((0, 2, 3)), abs=1e-6)
    assert data.std == pytest.approx(x.std((0, 2, 3)), abs=1e-6)


def test_moments_of_bytes_are_those_of_the_training_pictures():
    x, other = bytes_of(6, 9, 9, 3), np.zeros((3, 9, 9, 3), np.uint8)
    data = from_arrays(x, LABELS, other, LABELS[:3])
    assert data.mean == pytest.approx((x / 255).mean((0, 1, 2)), abs=1e-12)
    assert data.std == pytest.approx((x / 255).std((0, 1, 2)), abs=1e-12)


def test_a_constant_channel_is_not_divided_by_zero():
    x = np.zeros((6, 4, 4), np.uint8)
    assert from_arrays(x, LABELS, x, LABELS).std == (1.0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((6, 4, 4), int)}, "x_train must be uint8 .* or float, got int64"),
        ({"x_train": np.zeros((6, 4), np.uint8)}, r"x_train must be a non-empty .* got shape \(6, 4\)"),
        ({"x_train": np.zeros((0, 4, 4), np.uint8)}, "x_train must be a non-empty"),
        ({"x_train": np.zeros((6, 5, 5, 7), np.uint8)}, "x_train must have 1, 3 or 4 channels in its last axis"),
        ({"x_train": np.full((6, 4, 4), np.nan)}, "x_train holds NaN"),
        ({"y_train": LABELS[:5]}, "x_train has 6 pictures, y_train 5 labels"),
        ({"y_train": LABELS - 1}, "y_train must hold labels from 0 up, got -1"),
        ({"y_train": LABELS.astype(float)}, "y_train must be a non-empty .* of integers, got float64"),
        ({"y_test": LABELS + 1}, "y_test has the label 3, but there are 3 classes"),
        ({"x_test": np.zeros((6, 5, 4), np.uint8)}, "x_test must hold pictures like x_train's"),
        ({"x_test": np.zeros((6, 4, 4))}, "x_test must hold pictures like x_train's"),
        ({"class_names": ["a", "b"]}, "y_train has the label 2, but there are 2 classes .class_names"),
        ({"x_val": np.zeros((6, 4, 4), np.uint8)}, "x_val and y_val must be given together"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_arrays_that_do_not_fit_are_named(changes, message):
    x = np.zeros((6, 4, 4), np.uint8)
    arguments = {"x_train": x, "y_train": LABELS, "x_test": x, "y_test": LABELS}
    with pytest.raises(ValueError, match=message):
        from_arrays(**{**arguments, **changes})


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_a_file_holds_the_same_data(tmp_path):
    x = bytes_of(6, 4, 4, 3)
    arrays = {
        "x_train": x,
        "y_train": LABELS,
        "x_test": x[:3],
        "y_test": LABELS[:3],
        "x_val": x[3:],
        "y_val": LABELS[3:],
    }
    data = from_npz(saved(tmp_path / "pictures.npz", **arrays, notes=np.array("not read")), class_names="abc")
    assert repr(data) == "Data('pictures', train=6, test=3, val=3, num_classes=3, channels=3, image_size=4)"
    assert data.class_names == ("a", "b", "c")
    assert np.array_equal(data.val.images.numpy(), x[3:].transpose(0, 3, 1, 2))


def test_a_file_that_lacks_arrays_says_what_it_has(tmp_path):
    path = saved(tmp_path / "part.npz", x_train=np.zeros((2, 4, 4)), labels=np.zeros(2))
    with pytest.raises(ValueError, match="lacks y_train, x_test, y_test; it has x_train, labels"):
        from_npz(path)


def test_objects_in_a_file_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    objects = np.array([Bomb()], dtype=object)
    path = saved(tmp_path / "bomb.npz", x_train=objects, y_train=LABELS, x_test=objects, y_test=LABELS)
    with pytest.raises(ValueError, match=r"not a data set in \.npz form"):
        from_npz(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", pickle.dumps([1, 2])], ids=["empty", "text", "pickle"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"path: .* is not a data set in \.npz form: it is no \.npz archive"):
        from_npz(path)
    with pytest.raises(TypeError, match="path must be that of a file, got 5"):
        from_npz(5)


def test_a_single_array_and_a_truncated_file_are_refused(tmp_path):
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(ValueError, match="it holds a single array"):
        from_npz(tmp_path / "single.npy")
    x = bytes_of(6, 40, 40)
    path = saved(tmp_path / "cut.npz", x_train=x, y_train=LABELS, x_test=x, y_test=LABELS)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"not a data set in \.npz form"):
        from_npz(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: no such file: .*nowhere\.npz"):
        from_npz(tmp_path / "nowhere.npz")
