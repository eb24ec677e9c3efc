import json
import shutil
import threading
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from video.pose_projects import (
    HEIGHT,
    NONSENSE_PATHS,
    POINTS,
    WIDTH,
    contents,
    draw_frame,
    draw_positions,
    make_project,
    make_video,
    tracking_settings,
    train,
    trained,
    trained_scaled,
    video_info,
    write_config,
)

from sluice.errors import InputError
from sluice.qc import load_checks
from sluice.settings.pose import TrackPose
from sluice.video import track_pose
from sluice.video.deeplabcut_project import list_snapshots, read_pose_config, read_project
from sluice.video.pose import columns_of, load_pose
from sluice.video.pose_model import import_deeplabcut, make_tracker, sha256
from sluice.video.track_pose import (
    _checks,
    _likelihood_rows,
    choose_batch_size,
    chunk_frames,
    jump_fractions,
    seen_size,
    track_pose_file,
)

# Trains in about a minute on two quiet cores; 10 epochs gave a test error of 5.8 px, 30 gave 3.6.
OPEN_FIELD = {
    "net_type": "resnet10t",
    "output_stride": 16,
    "epochs": 12,
    "image_scale": 0.4,
    "rotation_deg": 180,
    "min_zoom": 0.8,
    "max_zoom": 1.25,
}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video, its facts and the true positions; its points move smoothly."""
    rng = np.random.default_rng(7)
    n_frames = 45
    ends = draw_positions(rng, 2)
    part = np.linspace(0, 1, n_frames)[:, None, None]
    positions = ends[:1] * (1 - part) + ends[1:] * part
    frames = np.array([draw_frame(p, rng) for p in positions])
    path = tmp_path_factory.mktemp("video") / "leftCamera.mp4"
    return path, make_video(path, frames), positions


def track(video, info, folder, project=None, **changes):
    """Track with the shared model; return the paths of what was written."""
    folder.mkdir(exist_ok=True)
    written = {
        "pose": folder / "_ibl_leftCamera.dlc.pqt",
        "filtered": folder / "_sluice_leftCamera.dlcFiltered.pqt",
        "model_info": folder / "model.json",
        "checks": folder / "checks.json",
    }
    given = {
        "snapshot": None,
        "settings": tracking_settings(likelihood_min=0.5),
        "device": "cpu",
        "threads": 2,
        "memory_mb": 4000,
        "name": "M001 leftCamera",
    }
    project = trained()[1]["project_out"] if project is None else project
    track_pose_file(video=video, info=info, project=project, **(given | changes), **written)
    return written


@pytest.fixture(scope="module")
def tracked(video, tmp_path_factory):
    path, info, _ = video
    return track(path, info, tmp_path_factory.mktemp("tracked") / "out")


def found_in(written, which="pose"):
    table = load_pose(written[which])
    return table, table.to_numpy().reshape(len(table), -1, 3)


def test_points_are_found_in_every_frame(video, tracked):
    _, info, positions = video
    table, found = found_in(tracked)
    assert list(table.columns) == columns_of(POINTS)
    assert len(table) == info.n_frames
    assert (table.dtypes == np.float64).all()
    error_px = np.linalg.norm(found[:, :, :2] - positions, axis=2)
    assert np.median(error_px) < 1.5
    assert ((found[:, :, 2] >= 0) & (found[:, :, 2] <= 1)).all()


def test_filtered_positions_are_beside(video, tracked):
    _, _, positions = video
    table, raw = found_in(tracked)
    filtered, found = found_in(tracked, "filtered")
    assert list(filtered.columns) == list(table.columns)
    np.testing.assert_array_equal(found[:, :, 2], raw[:, :, 2])
    errors = [np.linalg.norm(one[:, :, :2] - positions, axis=2) for one in (raw, found)]
    assert np.nanmedian(errors[1]) <= np.median(errors[0]) + 0.1
    # a median of five is not the same as no median
    assert (found[:, :, :2] != raw[:, :, :2]).any()


def test_model_info_names_the_snapshot(tracked):
    info = json.loads(tracked["model_info"].read_text())
    (snapshot,) = list_snapshots(trained()[1]["project_out"])
    assert info["snapshot"] == snapshot.name
    assert info["snapshot_sha256"] == sha256(snapshot)
    assert (info["task"], info["net"], info["points"]) == ("mice", "resnet10t", POINTS)


def test_nothing_is_written_to_the_project_or_beside_the_video(video, tmp_path, monkeypatch):
    path, info, _ = video
    project = trained()[1]["project_out"]
    before, beside = contents(project), sorted(path.parent.iterdir())
    monkeypatch.chdir(tmp_path)
    written = track(path, info, tmp_path / "out")
    assert contents(project) == before
    assert sorted(path.parent.iterdir()) == beside
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert sorted((tmp_path / "out").iterdir()) == sorted(written.values())


def test_again_gives_the_same_bytes_and_batches_do_not_matter(video, tracked, tmp_path):
    path, info, _ = video
    again = track(path, info, tmp_path / "again")
    assert all(again[k].read_bytes() == tracked[k].read_bytes() for k in tracked)
    settings = tracking_settings(batch_size=2)
    other = track(path, info, tmp_path / "other", settings=settings)
    # sums in another order: far below what can be seen
    np.testing.assert_allclose(found_in(other)[1], found_in(tracked)[1], atol=1e-3)


def test_deeplabcut_itself_opens_the_moved_project_and_finds_the_same(video, tracked, tmp_path):
    path, _, _ = video
    project = shutil.copytree(trained()[1]["project_out"], tmp_path / "moved")
    (tmp_path / "out").mkdir()
    import_deeplabcut().analyze_videos(
        project / "config.yaml",
        [str(path)],
        shuffle=1,
        device="cpu",
        batch_size=8,
        destfolder=tmp_path / "out",
    )
    (found,) = (tmp_path / "out").glob("*.h5")
    np.testing.assert_array_equal(pd.read_hdf(found).to_numpy(), load_pose(tracked["pose"]))


@pytest.mark.parametrize("nonsense", NONSENSE_PATHS)
def test_project_of_another_machine(video, tracked, tmp_path, nonsense):
    """Its paths are wrong everywhere, and it has no labels."""
    path, info, _ = video
    project = tmp_path / "moved"
    shutil.copytree(
        trained()[1]["project_out"] / "dlc-models-pytorch", project / "dlc-models-pytorch"
    )
    write_config(project, project_path=nonsense)
    (config_path,) = project.rglob("pytorch_config.yaml")
    config = yaml.safe_load(config_path.read_text())
    config["metadata"] |= {"project_path": nonsense, "pose_config_path": nonsense + "/a.yaml"}
    config["resume_training_from"] = nonsense + "/snapshot.pt"
    config_path.write_text(yaml.safe_dump(config))
    written = track(path, info, tmp_path / "out", project / "config.yaml")
    assert written["pose"].read_bytes() == tracked["pose"].read_bytes()


def test_grey_video_gives_the_same(video, tracked, tmp_path):
    path, info, _ = video
    grey = tmp_path / "grey.mp4"
    frames = np.array([f[:, :, 0] for f in track_pose.read_frames(path, name="x")])
    make_video(grey, frames, pixel_format="gray")
    written = track(grey, info, tmp_path / "out")
    # compressed once more
    difference = np.abs(found_in(written)[1] - found_in(tracked)[1])[:, :, :2]
    assert np.median(difference) < 0.3


def test_frames_are_red_green_blue(tmp_path):
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:] = (200, 60, 20)
    path = tmp_path / "colour.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 64), macro_block_size=1)
    writer.send(None)
    writer.send(frame.tobytes())
    writer.close()
    (found,) = track_pose.read_frames(path, name="x")
    # compression in YUV
    np.testing.assert_allclose(found.reshape(-1, 3).mean(axis=0), (200, 60, 20), atol=6)


def test_a_full_gpu_halves_the_batch(video, tracked, tmp_path, monkeypatch):
    """The memory is full in the middle of a chunk; no frame is lost or found twice."""
    path, info, _ = video
    make_tracker, sizes = track_pose.make_tracker, []

    def make_small(*args, batch_size, device):
        tracker = make_tracker(*args, batch_size=batch_size, device=device)
        sizes.append(batch_size)

        def track_some(images):
            if batch_size > 2:
                raise torch.cuda.OutOfMemoryError
            return tracker(images)

        return track_some

    monkeypatch.setattr(track_pose, "make_tracker", make_small)
    monkeypatch.setattr(track_pose, "CHUNK_MB", 20 * HEIGHT * WIDTH * 3 / 1e6)
    written = track(path, info, tmp_path / "out", settings=tracking_settings(batch_size=8))
    assert sizes == [8, 4, 2]
    np.testing.assert_allclose(found_in(written)[1], found_in(tracked)[1], atol=1e-3)

    def make_none(*args, **kwargs):
        def track_none(images):
            raise torch.cuda.OutOfMemoryError

        return track_none

    monkeypatch.setattr(track_pose, "make_tracker", make_none)
    fail("does not hold the network and one frame of 96 x 80 px", path, info, tmp_path / "none")


def test_batch_fits_into_the_memory():
    assert choose_batch_size((480, 640), device="cpu", memory_mb=16000) == 8
    # 1500 MB for all else, 100 MB of frames, 307 MB for each in the network
    assert choose_batch_size((480, 640), device="cpu", memory_mb=2500) == 2
    assert choose_batch_size((480, 640), device="cpu", memory_mb=1600 + 3 * 308) == 3
    assert choose_batch_size((2000, 2000), device="cpu", memory_mb=4000) == 1
    assert choose_batch_size((480, 640), device="cpu", memory_mb=500) == 1


@pytest.mark.parametrize(("height", "width"), [(80, 96), (480, 640), (1024, 1280), (3000, 4000)])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_few_batches_of_frames_are_kept(height, width, batch_size):
    n_frames = chunk_frames(video_info(1, height=height, width=width), batch_size)
    assert n_frames % batch_size == 0
    assert batch_size <= n_frames
    # 100 MB, or one batch where that alone is more
    assert n_frames == batch_size or n_frames * height * width * 3 <= 100e6


def test_the_network_may_see_smaller_frames():
    config = {"data": {"inference": {"resize": {"height": 40, "width": 48}}}}
    assert seen_size(config, video_info(1), None) == (40, 48)
    assert seen_size({"data": {"inference": None}}, video_info(1), None) == (HEIGHT, WIDTH)
    assert seen_size(config, video_info(1, height=160, width=201), 0.5) == (80, 100)


@pytest.mark.parametrize("border_px", [(0, 0), (30, 15), (70, 90)])
def test_scaled_model_sees_videos_of_all_sizes_at_the_scale_of_its_labels(tmp_path, border_px):
    rng = np.random.default_rng(8)
    positions = draw_positions(rng, 20)
    frames = np.array([draw_frame(p, rng) for p in positions])
    # larger by a border in the colour of the background, at the right and below
    frames = np.pad(frames, ((0, 0), *((0, px) for px in border_px)), constant_values=110)
    path = tmp_path / "leftCamera.mp4"
    info = make_video(path, frames, pixel_format="gray")
    (snapshot,) = list_snapshots(trained_scaled()[1]["project_out"])
    # the scale comes along with the weights, wherever they are kept
    named = shutil.copy(snapshot, tmp_path / "named.pt")
    project = trained_scaled()[1]["project_out"]
    _, found = found_in(track(path, info, tmp_path / "out", project, snapshot=named))
    shift_px = found[:, :, :2] - positions
    assert np.median(np.linalg.norm(shift_px, axis=2)) < 2
    assert np.abs(np.median(shift_px, axis=0)).max() < 1.5


def test_errors_of_scaled_models_are_in_pixels_of_the_images():
    table = pd.read_csv(trained_scaled()[1]["evaluation"], sep="\t")
    errors = table.set_index(["images", "point"])["mean_error_px"]
    assert errors[("train", "all")] < 2
    assert errors["train"][POINTS].max() < 3


def test_frames_are_taken_in_this_thread():
    """DeepLabCut's own thread may lose the result of a frame."""
    project = read_project(trained()[1]["project_out"], name="x")
    (snapshot,) = list_snapshots(project.folder)
    config = read_pose_config(project, snapshot, name="x")
    threads = []

    def images():
        for _ in range(3):
            threads.append(threading.current_thread())
            yield np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    found = make_tracker(config, snapshot, batch_size=2, device="cpu")(images())
    assert len(found) == 3
    assert set(threads) == {threading.current_thread()}


def test_lost_results_are_not_blamed_on_the_video(video, tmp_path, monkeypatch):
    path, info, _ = video
    make_whole = track_pose.make_tracker

    def make_losing(*args, **kwargs):
        tracker = make_whole(*args, **kwargs)
        return lambda images: tracker(images)[:-1]

    monkeypatch.setattr(track_pose, "make_tracker", make_losing)
    with pytest.raises(RuntimeError, match="44 positions for 45 frames"):
        track(path, info, tmp_path / "out")


def test_jumps_count_between_likely_positions():
    found = np.zeros((6, 2, 3))
    found[:, :, 2] = 1
    found[3:, 0, 0] = 50  # one jump of five steps
    found[2, 1, 0] = 50  # there and back, but not likely
    found[2, 1, 2] = 0.1
    np.testing.assert_array_equal(
        jump_fractions(found, likelihood_min=0.9, distance_px=10), [1 / 5, 0]
    )
    assert (jump_fractions(found[:1], likelihood_min=0.9, distance_px=10) == 0).all()


def test_checks_pass_on_the_video_of_the_model(tracked):
    checks = {c.name: c for c in load_checks(tracked["checks"])}
    assert set(checks) == set(TrackPose().checks.model_dump())
    assert checks["pose_jump_fraction"].verdict == "PASS"
    assert checks["pose_lost_points"].verdict == "PASS"
    assert checks["pose_likelihood_mean"].value > 0.7


def test_points_that_may_be_hidden_are_not_judged():
    likelihood = np.array([[0.9, 0.1], [0.7, 0.1]])
    settings = tracking_settings(often_hidden=["tongue"])
    rows = _likelihood_rows(likelihood, ["nose", "tongue"], settings)
    assert [(key, value) for key, value, _ in rows] == [
        ("pose_likelihood_mean", pytest.approx(0.8)),
        ("pose_unlikely_fraction", 0.5),
    ]
    assert _likelihood_rows(likelihood[:, 1:], ["tongue"], settings) == []


@pytest.mark.parametrize(
    ("points", "likelihood", "verdict", "message"),
    [
        (["nose", "tongue"], [0.9, 0.05], "PASS", "none is lost; not judged: tongue"),
        (["nose", "tongue"], [0.9, 0.9], "PASS", "none is lost; not judged: tongue"),
        (["nose", "tongue"], [0.05, 0.05], "FAIL", "throughout: nose; not judged: tongue"),
        (["nose", "ear"], [0.05, 0.9], "FAIL", "throughout: nose"),
        (["tongue"], [0.05], "PASS", "none is lost; not judged: tongue"),
    ],
)
def test_a_mouse_that_never_licks_does_not_fail(points, likelihood, verdict, message):
    settings = tracking_settings(often_hidden=["tongue"])
    found = np.zeros((3, len(points), 3))
    found[:, :, 2] = likelihood
    checks = {c.name: c for c in _checks(found, points, video_info(3), settings)}
    assert checks["pose_lost_points"].verdict == verdict
    assert checks["pose_lost_points"].message.endswith(message)
    assert checks["pose_lost_points"].value == (verdict == "FAIL")


def test_point_without_any_likelihood_is_named(tmp_path, monkeypatch, video):
    path, info, _ = video
    make_tracker = track_pose.make_tracker

    def make_blind(*args, **kwargs):
        tracker = make_tracker(*args, **kwargs)

        def track_blind(images):
            found = tracker(images)
            found[:, 2, 2] = 0
            return found

        return track_blind

    monkeypatch.setattr(track_pose, "make_tracker", make_blind)
    written = track(path, info, tmp_path / "out")
    checks = {c.name: c for c in load_checks(written["checks"])}
    assert checks["pose_lost_points"].verdict == "FAIL"
    assert checks["pose_lost_points"].message.endswith("throughout: paw")
    assert checks["pose_likelihood_mean"].message == "lowest: paw"
    assert checks["pose_unlikely_fraction"].value == 1
    assert load_pose(written["filtered"])["paw_x"].isna().all()


def fail(match, video, info, folder, project=None, **changes):
    with pytest.raises(InputError, match=match) as caught:
        track(video, info, folder, project, **changes)
    assert str(caught.value).startswith("M001 leftCamera: ")


def test_video_with_other_frames(video, tmp_path):
    path, _, _ = video
    fail("has 45 frames that can be decoded, expected the 44", path, video_info(44), tmp_path / "a")
    path = tmp_path / "none.mp4"
    path.write_bytes(b"no video")
    fail("cannot be opened as a video", path, video_info(44), tmp_path / "b")


def test_missing_snapshot(video, tmp_path):
    path, info, _ = video
    match = r"snapshot-999\.pt does not exist; snapshots of .*snapshot-018\.pt"
    fail(match, path, info, tmp_path / "out", snapshot="snapshot-999.pt")


def test_snapshot_of_another_architecture(video, tmp_path):
    path, info, _ = video
    (snapshot,) = list_snapshots(trained()[1]["project_out"])
    content = torch.load(snapshot, weights_only=True)
    weights = content["model"]
    for key in [k for k in weights if ".layer4." in k]:
        weights[key.replace(".layer4.", ".layer9.")] = weights.pop(key)
    torch.save(content, tmp_path / "other.pt")
    match = r"another architecture than resnet10t with 4 points.*lacks \d+ of .*has more"
    fail(match, path, info, tmp_path / "a", snapshot=tmp_path / "other.pt")
    torch.save({"weights": weights}, tmp_path / "other.pt")
    fail("holds no `model`", path, info, tmp_path / "b", snapshot=tmp_path / "other.pt")
    (tmp_path / "other.pt").write_bytes(snapshot.read_bytes()[:1000])
    fail("cannot be read as a snapshot", path, info, tmp_path / "c", snapshot=tmp_path / "other.pt")


def test_network_of_another_version(video, tmp_path):
    path, info, _ = video
    project = tmp_path / "mice"
    shutil.copytree(trained()[1]["project_out"], project)
    (config_path,) = project.rglob("pytorch_config.yaml")
    config = yaml.safe_load(config_path.read_text())
    config_path.write_text(yaml.safe_dump(config | {"nonsense": 1}))
    fail("is not as DeepLabCut 3.*nonsense", path, info, tmp_path / "out", project)


def test_project_that_is_not_trained(video, tmp_path):
    path, info, _ = video
    make_project(tmp_path / "mice", n_images=2)
    fail("`train_pose` trains one", path, info, tmp_path / "out", tmp_path / "mice")


@pytest.mark.slow
def test_open_field_is_trained_and_tracked(real_data, tmp_path):
    """Real mouse, 116 labelled images: error below 10 px of 640 x 480, and all 2330 frames."""
    folder = real_data / "pose" / "openfield"
    if not folder.is_dir():
        pytest.skip("no pose/openfield in the folder of real recordings")
    written = train(folder, tmp_path / "trained", **OPEN_FIELD)
    errors = pd.read_csv(written["evaluation"], sep="\t").set_index(["images", "point"])
    assert errors.loc[("test", "all"), "mean_error_px"] < 10
    (video,) = (folder / "videos").glob("*.mp4")
    capture = cv2.VideoCapture(str(video))
    width, height = (int(capture.get(p)) for p in (3, 4))
    capture.release()
    info = video_info(2330, height=height, width=width)
    tracked = track(video, info, tmp_path / "tracked", written["project_out"])
    table, found = found_in(tracked)
    assert len(table) == 2330
    assert np.median(found[:, :, 2]) > 0.5
    (snapshot,) = list_snapshots(written["project_out"])
    assert Path(snapshot).stat().st_size < 50e6
