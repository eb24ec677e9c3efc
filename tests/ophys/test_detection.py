import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.suite2p_planes import SETTINGS, plane_info

from sluice.errors import UserError
from sluice.ophys import detection
from sluice.ophys.detection import bin_frames, bin_movie, require_weights, rois_from_labels
from sluice.ophys.movie_reader import MovieReader
from sluice.ophys.suite2p_settings import suite2p_settings


@given(st.integers(10, 10**6), st.floats(1, 60), st.floats(0.1, 5), st.integers(100, 5000))
def test_there_are_never_more_bins_than_asked_nor_fewer_than_ten(n, rate_hz, bin_s, max_bins):
    size = bin_frames(n, sampling_rate_hz=rate_hz, bin_s=bin_s, max_bins=max_bins)
    assert 10 <= n // size <= max_bins
    if 10 * bin_s * rate_hz < n < max_bins * bin_s * rate_hz / 2 and bin_s * rate_hz > 1:
        assert size == round(bin_s * rate_hz)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 7), st.data())
def test_binning_equals_the_slow_twin(tmp_path_factory, n, size, data):
    is_bad = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    rng = np.random.default_rng(n)
    movie = rng.integers(-30000, 30000, (n, 6, 5)).astype(np.int16)
    path = tmp_path_factory.mktemp("bins") / "movie.bin"
    movie.tofile(path)
    found = bin_movie(
        path, plane_info(movie.shape), is_bad=is_bad, n_per_bin=size, yrange=(1, 6), xrange=(0, 3)
    )
    good = movie[~is_bad, 1:6, 0:3].astype(float)
    slow = [good[k * size : (k + 1) * size].mean(axis=0) for k in range(len(good) // size)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.reshape(slow, (-1, 5, 3)), rtol=1e-5, atol=0.01)


def test_a_reader_gives_the_same_slices_as_the_array(tmp_path):
    movie = np.arange(7 * 3 * 4, dtype=np.int16).reshape(7, 3, 4)
    movie.tofile(tmp_path / "movie.bin")
    reader = MovieReader(tmp_path / "movie.bin", plane_info(movie.shape))
    assert reader.shape == movie.shape
    assert len(reader) == 7
    for chosen in (slice(0, 3), slice(5, 99), slice(None), slice(-2, None)):
        np.testing.assert_array_equal(reader[chosen], movie[chosen])
    with pytest.raises(IndexError, match="step has to be 1"):
        reader[::2]


@pytest.fixture(scope="module")
def filled():
    info = plane_info((10, 40, 50))
    return suite2p_settings(SETTINGS["segment_plane"], info, device="cpu")


def labels_and_image():
    labels = np.zeros((30, 40), int)
    labels[5:11, 5:11] = 7
    labels[20:26, 30:36] = 3
    return labels, np.random.default_rng(0).uniform(100, 200, labels.shape).astype(np.float32)


def test_labels_become_rois_at_their_place_in_the_image(filled):
    labels, image = labels_and_image()
    stat = rois_from_labels(labels, image, (10, 40, 50), (4, 34), (6, 46), filled)
    assert len(stat) == 2
    found = {(roi["ypix"].min(), roi["xpix"].min(), len(roi["lam"])) for roi in stat}
    assert found == {(9, 11, 36), (24, 36, 36)}
    assert all((roi["lam"] > 0).all() and not roi["overlap"].any() for roi in stat)
    assert all(9 <= roi["med"][0] <= 29 for roi in stat)
    assert rois_from_labels(labels * 0, image, (10, 40, 50), (4, 34), (6, 46), filled) == []


def test_cellpose_is_given_the_weights_and_the_image(filled, monkeypatch, tmp_path):
    labels, image = labels_and_image()
    seen = {}

    class Model:
        def __init__(self, **options):
            seen.update(options)

        def eval(self, projection, **options):
            seen.update(options, projection=projection)
            return labels, None, None

    import cellpose.models

    monkeypatch.setattr(cellpose.models, "CellposeModel", Model)
    binned = np.stack([image, image + 10])
    weights = tmp_path / "cpsam"
    stat = detection.detect_by_cellpose(
        binned,
        shape=(10, 40, 50),
        yrange=(4, 34),
        xrange=(6, 46),
        filled=filled,
        image="mean",
        weights=weights,
        device="cpu",
    )
    assert len(stat) == 2
    assert seen["pretrained_model"] == str(weights)
    np.testing.assert_allclose(seen["projection"], image + 5)
    assert seen["diameter"] == 12.0


def test_cellpose_without_weights_on_disk_is_refused(tmp_path):
    plain = SETTINGS["segment_plane"]
    assert require_weights(plain) is None
    with pytest.raises(UserError, match=r"cellpose_model is not set.*Nothing is downloaded"):
        require_weights({**plain, "algorithm": "cellpose"})
    missing = {**plain, "algorithm": "cellpose", "cellpose_model": str(tmp_path / "cpsam")}
    with pytest.raises(UserError, match="cpsam, which is no file"):
        require_weights(missing)
    (tmp_path / "cpsam").write_bytes(b"")
    assert require_weights(missing) == tmp_path / "cpsam"


def test_an_error_of_suite2p_that_is_not_an_empty_plane_is_raised(filled, monkeypatch):
    import suite2p.detection

    def fail(*_, **__):
        raise ValueError("mov.shape[1] is not same size as yrange")

    monkeypatch.setattr(suite2p.detection, "detection_wrapper", fail)
    with pytest.raises(ValueError, match="not same size"):
        detection.detect_rois(
            np.zeros((10, 5, 5), np.float32),
            shape=(10, 5, 5),
            yrange=(0, 5),
            xrange=(0, 5),
            filled=filled,
            device="cpu",
        )
