"""What is known of a plane from where, and which images are its frames."""

import itertools
import json
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.errors import InputError
from sluice.io import movie_headers
from sluice.io.check_plane import check_plane, fill_rows, inspect, plane_files
from sluice.io.imaging import open_movie
from sluice.io.imaging_json import read_imaging_json
from sluice.io.movie import interleaving
from sluice.io.movie_headers import natural_order
from sluice.ophys.frame_clock import frame_times
from sluice.session import Plane
from sluice.synth.plane import make_scene
from sluice.synth.plane_files import FORMATS, write_imaging

H, W = 9, 8
FACTS = {"frame_rate_hz": 10, "indicator": "GCaMP6f"}


def images(n, shape=(H, W), first=0):
    """Image i holds i in every pixel but one, so that none is blank."""
    out = np.zeros((n, *shape), np.int16)
    out += np.arange(first, first + n, dtype=np.int16).reshape(-1, 1, 1)
    out[:, 0, 0] += 1000
    return out


def write_json(folder, facts=None, **changes):
    content = {**(FACTS if facts is None else facts), **changes}
    (folder / "imaging.json").write_text(json.dumps(content), encoding="utf-8")


def write_tiff(path, content):
    tifffile.imwrite(path, content, photometric="minisblack")


def plane(path, file_format="tiff", **changes):
    return Plane("M1/2026-01-15/001", "plane", "FOV_00", str(path), file_format, **changes)


def numbers(movie):
    """Number of the image that each frame was written as."""
    return movie.frames(0, movie.n_frames)[:, 1, 1].tolist()


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path)
    write_tiff(tmp_path / "m_1.tif", images(12))
    return tmp_path


# --- imaging.json ---


def test_every_mistake_in_imaging_json_at_once(tmp_path):
    facts = {
        "frame_rate": 10,
        "n_planes": 0,
        "n_channels": 2.5,
        "functional_channel": -1,
        "flyback_planes": 2,
        "um_per_pixel": [1, 2, 3],
        "indicator": "",
        "decay_s": True,
        "paired_planes": [[0, 0]],
        "files": ["a.tif", 3],
        "colour": "green",
        "depths_um": [100, 140],
    }
    write_json(tmp_path, facts)
    found, problems = read_imaging_json(tmp_path)
    assert found == {"depths_um": [100, 140]}
    path = tmp_path / "imaging.json"
    for expected in (
        f"{path}: 'frame_rate' is no key of this file; did you mean 'frame_rate_hz'?",
        f"{path}: n_planes is 0; expected a whole number from 1, flyback frames counted",
        f"{path}: n_channels is 2.5; expected a whole number from 1",
        f"{path}: functional_channel is -1; expected a whole number from 0",
        f"{path}: flyback_planes is 2; expected a list of planes, counted from 0",
        f"{path}: um_per_pixel is [1, 2, 3]; expected a number above 0, or a list of two",
        f"{path}: indicator is ''; expected text, e.g. GCaMP6f",
        f"{path}: decay_s is True; expected a number above 0 (s)",
        f"{path}: paired_planes is [[0, 0]]; expected a list of pairs of planes",
        f"{path}: files is ['a.tif', 3]; expected a list of file names",
        f"{path}: 'colour' is no key of this file; known keys: frame_rate_hz, n_planes",
    ):
        assert any(problem.startswith(expected) for problem in problems), expected
    assert len(problems) == 11


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"n_planes": 3, "flyback_planes": [3]}, "name plane 3; with n_planes 3 the last is 2"),
        ({"n_planes": 2, "paired_planes": [[0, 2]]}, "name plane 2; with n_planes 2 the last is 1"),
        ({"n_planes": 2, "depths_um": [1]}, "depths_um has 1 values; expected 2, one a plane"),
        ({"n_planes": 2, "z_stack": ["a"]}, "z_stack has 1 values; expected 2, one a plane"),
        ({"n_channels": 2, "functional_channel": 2}, "functional_channel is 2; with n_channels 2"),
    ],
)
def test_contradictions_in_imaging_json(tmp_path, facts, problem):
    write_json(tmp_path, facts)
    assert problem in read_imaging_json(tmp_path)[1][0]


@pytest.mark.parametrize(("text", "problem"), [("{", "is no JSON"), ("[1]", "holds list")])
def test_imaging_json_that_is_none(tmp_path, text, problem):
    (tmp_path / "imaging.json").write_text(text)
    assert problem in read_imaging_json(tmp_path)[1][0]


def test_no_imaging_json_is_no_problem(tmp_path):
    assert read_imaging_json(tmp_path) == ({}, [])


# --- what wins ---


def test_the_row_wins_over_imaging_json_and_that_over_the_file(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        images(6).astype(np.uint16),
        imagej=True,
        resolution=(1, 1),
        metadata={"axes": "TYX", "finterval": 0.1, "unit": "um"},
    )
    found = inspect(plane(tmp_path, indicator="GCaMP6f"))
    assert (found.sampling_rate_hz, found.um_per_pixel, found.decay_s) == (10, (1, 1), 0.4)
    # a difference of 1 % is rounding
    write_json(tmp_path, {}, frame_rate_hz=10.05, um_per_pixel=[2, 3], indicator="GCaMP6s")
    found = inspect(plane(tmp_path))
    assert (found.sampling_rate_hz, found.um_per_pixel, found.decay_s) == (10.05, (2, 3), 0.7)
    row = {"sampling_rate_hz": 9.99, "um_per_pixel": 4.0, "indicator": "x", "decay_s": 0.25}
    found = inspect(plane(tmp_path, **row))
    assert (found.sampling_rate_hz, found.um_per_pixel) == (9.99, (4, 4))
    assert (found.indicator, found.decay_s, found.problems) == ("x", 0.25, [])


@pytest.mark.parametrize(
    ("row", "facts", "problem"),
    [
        (
            {"sampling_rate_hz": 20.0},
            {},
            "the rate (frames of one plane a second) is 20 in the table of streams and 10 in "
            "imaging.json; correct the one that is wrong",
        ),
        ({"n_planes": 3}, {"n_planes": 2}, "n_planes is 3 in the table of streams and 2 in imag"),
        ({"n_channels": 1}, {"n_channels": 2}, "n_channels is 1 in the table of streams and 2 in"),
    ],
)
def test_contradictions_are_not_settled(folder, row, facts, problem):
    write_json(folder, **facts)
    assert problem in " ".join(check_plane(plane(folder, **row)))


def test_the_file_contradicts(tmp_path):
    content = images(12).reshape(2, 3, 2, H, W)
    file = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        file,
        content,
        metadata={"axes": "TZCYX", "TimeIncrement": 0.1},
        photometric="minisblack",
    )
    write_json(tmp_path, frame_rate_hz=30, n_planes=1, n_channels=1)
    found = inspect(plane(tmp_path))
    assert found.problems == []
    assert (found.n_planes, found.n_channels, found.sampling_rate_hz) == (1, 1, 30)
    assert [str(one) for one in found.differences if one.is_difference] == [
        f"n_planes is 1 in imaging.json, which is used, and 3 in the header of {file}",
        f"n_channels is 1 in imaging.json, which is used, and 2 in the header of {file}",
    ]
    # the row wins over both
    row = {"sampling_rate_hz": 5.0, "n_planes": 3, "n_channels": 2}
    write_json(tmp_path, {"indicator": "GCaMP6f"})
    found = inspect(plane(tmp_path, **row))
    assert (found.n_planes, found.n_channels, found.sampling_rate_hz) == (3, 2, 5)
    (one,) = [one for one in found.differences if one.is_difference]
    assert (one.is_rate, one.fraction) == (True, pytest.approx(0.5))
    assert (
        str(one) == "the rate (frames of one plane a second) is 5 in the table of streams, which "
        f"is used, and 10 in the header of {file}"
    )


def test_a_rate_for_other_planes_is_not_taken(tmp_path):
    """The header counts three planes a frame; with one its rate means nothing."""
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        images(12).reshape(4, 3, H, W),
        metadata={"axes": "TZYX", "TimeIncrement": 0.1},
        photometric="minisblack",
    )
    row = plane(tmp_path, indicator="GCaMP6f")
    assert inspect(row).sampling_rate_hz == pytest.approx(10)
    (problem,) = check_plane(replace(row, n_planes=1))
    assert "neither from the file (the header says 10 Hz, but for 3 planes)" in problem
    assert check_plane(replace(row, n_planes=1, sampling_rate_hz=30.0)) == []


def test_planes_of_an_axis_cannot_be_said_otherwise(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mov"] = np.ones((12, H, W, 3), np.int16)
    write_json(tmp_path, n_planes=4)
    (problem,) = check_plane(plane(tmp_path, "h5"))
    assert f"n_planes is 4 in imaging.json, but the images of {tmp_path / 'a.h5'} have 3" in problem


def test_a_rate_is_never_assumed(folder):
    (folder / "imaging.json").unlink()
    (problem,) = check_plane(plane(folder, indicator="GCaMP6f"))
    assert f"{folder}: the frame rate is not known" in problem
    assert f"Give 'frame_rate_hz' in {folder / 'imaging.json'}, or sampling_rate_hz" in problem


def test_the_speed_of_playing_is_no_rate(tmp_path):
    """ImageJ's fps is what somebody set to look at the movie."""
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, images(6).astype(np.uint16), imagej=True, metadata={"fps": 7.0})
    (problem,) = check_plane(plane(tmp_path, indicator="GCaMP6f"))
    assert "not known, neither from the file (ImageJ's fps, 7, is the speed at which" in problem
    tifffile.imwrite(
        file,
        images(6).astype(np.uint16),
        imagej=True,
        metadata={"fps": 7.0, "finterval": 0.1},
    )
    assert inspect(plane(tmp_path, indicator="GCaMP6f")).sampling_rate_hz == 10


def test_the_clock_gives_the_rate_where_nothing_else_does(folder):
    write_json(folder, {"indicator": "GCaMP6f", "frame_times": "t.npy"})
    np.save(folder / "t.npy", 5 + np.arange(12) / 4)
    assert open_movie(plane(folder)).sampling_rate_hz == 4
    np.save(folder / "t.npy", [1.0])
    with pytest.raises(InputError, match=r"t\.npy has 1 times, which give no rate"):
        open_movie(plane(folder))


@pytest.mark.parametrize(
    ("indicator", "decay_s"),
    [
        ("GCaMP6f", 0.4),
        ("Ai148-GCaMP6f", 0.4),
        ("gcamp-6s", 0.7),
        ("jGCaMP8s_ribo", 0.7),
        ("jGCaMP 8m", 0.4),
        ("GCaMP6f (green), jRGECO1a", 0.4),
    ],
)
def test_known_indicators(folder, indicator, decay_s):
    assert inspect(plane(folder, indicator=indicator)).decay_s == decay_s


@pytest.mark.parametrize("indicator", ["GCaMP", "GCaMP6fx", "jGCaMP8f", "GCaMP6f GCaMP6s"])
def test_an_unknown_indicator_needs_its_decay(folder, indicator):
    (problem,) = check_plane(plane(folder, indicator=indicator))
    assert f"{folder}: indicator '{indicator}' is not known, so its decay is not either" in problem
    assert "Known are GCaMP6f, GCaMP6s, jGCaMP8s, jGCaMP8m; for another give 'decay_s'" in problem
    assert check_plane(plane(folder, indicator=indicator, decay_s=0.3)) == []
    write_json(folder, {"frame_rate_hz": 10})
    assert "the indicator is not known" in check_plane(plane(folder))[0]


# --- files ---


def test_files_in_natural_order(folder):
    for k in (2, 10):
        write_tiff(folder / f"m_{k}.tif", images(2, first=100 * k))
    (folder / ".m_3.tif").touch()
    (folder / "notes.txt").touch()
    movie = open_movie(plane(folder))
    assert [path.rsplit("/", 1)[-1] for path, _ in movie.files] == [
        "m_1.tif",
        "m_2.tif",
        "m_10.tif",
    ]
    assert [n for _, n in movie.files] == [12, 2, 2]
    assert numbers(movie) == [*range(12), 200, 201, 1000, 1001]
    assert natural_order(folder / "a2b10") < natural_order(folder / "a10b1")


def test_files_in_the_order_they_are_named(folder):
    write_tiff(folder / "z.tif", images(3, first=50))
    write_json(folder, files=["z.tif", "m_1.tif"])
    assert numbers(open_movie(plane(folder))) == [50, 51, 52, *range(12)]
    write_json(folder, files=["z.tif", "y.tif"])
    assert check_plane(plane(folder)) == [
        f"{folder / 'y.tif'}: no such file; correct 'files' in {folder / 'imaging.json'}"
    ]


@pytest.mark.parametrize("is_named", [False, True])
def test_a_file_that_was_not_fetched_is_one_of_the_movie(folder, is_named):
    """git-annex and DataLad have a link in its place that leads nowhere."""
    link = folder / "m_2.tif"
    link.symlink_to(".git/annex/objects/x")
    write_tiff(folder / "m_3.tif", images(3, first=50))
    if is_named:
        write_json(folder, files=["m_1.tif", "m_2.tif", "m_3.tif"])
    (problem,) = check_plane(plane(folder))
    assert problem.startswith(f"{link}: is a link to .git/annex/objects/x, which is not there")
    assert "fetch it (`git annex get`, `datalad get`)" in problem
    assert check_plane(plane(link)) == [problem]
    # links that lead to a file are files, and one to a folder is none
    link.unlink()
    link.symlink_to(folder / "m_3.tif")
    (folder / "m_4.tif").symlink_to(folder)
    assert numbers(open_movie(plane(folder))) == [*range(12), 50, 51, 52, 50, 51, 52]


def test_what_is_said_of_a_movie_may_not_have_been_fetched(folder):
    (folder / "t.npy").symlink_to("nowhere")
    (problem,) = check_plane(plane(folder, frame_times="t.npy"))
    assert f"{folder / 't.npy'}: is a link to nowhere" in problem
    (folder / "imaging.json").unlink()
    (folder / "imaging.json").symlink_to("nowhere")
    problems = check_plane(plane(folder, sampling_rate_hz=10.0, indicator="GCaMP6f"))
    assert [p.split(", which")[0] for p in problems] == [
        f"{folder / 'imaging.json'}: is a link to nowhere"
    ]


def test_a_list_of_no_files(folder):
    write_json(folder, files=[])
    (problem,) = check_plane(plane(folder))
    assert "files is []; expected a list of file names" in problem


def test_one_file_of_a_folder(folder):
    write_tiff(folder / "z.tif", images(3, first=50))
    found = plane(folder / "z.tif")
    assert numbers(open_movie(found)) == [50, 51, 52]
    assert plane_files(found) == [folder / "z.tif", folder / "imaging.json"]


def test_a_z_stack_and_a_clock_are_no_part_of_the_movie(folder):
    write_tiff(folder / "stack.tif", images(3, (5, 5)))
    np.save(folder / "t.npy", np.arange(12.0))
    write_json(folder, z_stack="stack.tif", z_step_um=2, frame_times="t.npy")
    found = inspect(plane(folder))
    assert found.files == [folder / "m_1.tif"]
    assert (found.z_stack, found.z_step_um) == (folder / "stack.tif", 2)
    names = [path.name for path in plane_files(plane(folder))]
    assert names == ["m_1.tif", "imaging.json", "t.npy"]
    (folder / "t.npy").unlink()
    (problem,) = check_plane(plane(folder))
    assert f"{folder / 't.npy'}: no such file; it is named as frame_times" in problem


def test_side_files_named_in_the_row(folder, tmp_path):
    """Absolute, relative to where the workflow runs, or beside the movie."""
    np.save(folder / "t.npy", np.arange(12.0))
    for name in ("t.npy", str(folder / "t.npy")):
        assert inspect(plane(folder, frame_times=name)).frame_times == folder / "t.npy"


def test_rows_take_from_imaging_json_what_later_steps_need(folder):
    facts = {"n_planes": 2, "paired_planes": [[0, 1]], "z_stack": ["a.tif", "b.tif"]}
    write_json(folder, z_step_um=2, **facts)
    for name in ("a.tif", "b.tif"):
        write_tiff(folder / name, images(3))
    rows = [plane(folder), replace(plane(folder, plane=1), name="FOV_01", z_step_um=3.0)]
    upper, lower = fill_rows(rows)
    assert (upper.z_stack, upper.z_step_um) == (str(folder / "a.tif"), 2)
    assert (lower.z_stack, lower.z_step_um) == (str(folder / "b.tif"), 3)
    assert (upper.paired_with, lower.paired_with) == ("FOV_01", "FOV_00")
    # the other one may have been left out
    assert fill_rows(rows[:1])[0].paired_with == ""
    # and a row says itself with which it was recorded
    assert fill_rows([replace(rows[0], paired_with="FOV_09")])[0].paired_with == "FOV_09"


def paired_rows(folder, pairs, **changes):
    """Rows of planes, of which each says with which it was recorded."""
    names = {p: f"FOV_{p:02d}" for pair in pairs for p in pair}
    partner = {a: b for a, b in pairs} | {b: a for a, b in pairs}
    return [
        replace(plane(folder, plane=p, **changes), name=names[p], paired_with=names[partner[p]])
        for p in sorted(names)
    ]


def test_pairs_named_in_rows_say_when_a_plane_is_recorded(folder):
    """Two steps a volume, as if imaging.json had said it."""
    pairs = [(0, 2), (1, 3)]
    rows = fill_rows(paired_rows(folder, pairs, n_planes=4))
    assert [row.paired_planes for row in rows] == ["0,2 1,3"] * 4
    assert [open_movie(row).phase for row in rows] == [0, 0.5, 0, 0.5]
    write_json(folder, n_planes=4, paired_planes=pairs)
    plain = [plane(folder, plane=p) for p in range(4)]
    assert [open_movie(row).phase for row in plain] == [0, 0.5, 0, 0.5]
    # rows win over imaging.json
    write_json(folder, n_planes=4, paired_planes=[[0, 1], [2, 3]])
    assert [row.paired_planes for row in fill_rows(rows)] == ["0,2 1,3"] * 4
    assert [open_movie(row).phase for row in fill_rows(rows)] == [0, 0.5, 0, 0.5]
    # one of them may be said there alone
    only = [replace(rows[0], paired_planes=""), rows[2]]
    write_json(folder, n_planes=4, paired_planes=[[1, 3]])
    assert fill_rows(only)[0].paired_planes == "0,2 1,3"


def test_a_plane_that_is_left_out_was_recorded_all_the_same(folder):
    rows = paired_rows(folder, [(0, 1), (2, 3)], n_planes=4)
    (filled,) = fill_rows([rows[2]], listed=rows)
    assert (filled.paired_planes, open_movie(filled).phase) == ("0,1 2,3", 0.5)


def test_planes_in_files_of_their_own_share_no_volume(folder):
    write_tiff(folder / "m_2.tif", images(12))
    rows = [
        replace(plane(folder / "m_1.tif"), paired_with="FOV_01"),
        replace(plane(folder / "m_2.tif"), name="FOV_01", paired_with="FOV_00"),
    ]
    assert [row.paired_planes for row in fill_rows(rows)] == ["", ""]


def test_pairs_in_a_row_that_are_none(folder):
    (problem,) = check_plane(plane(folder, paired_planes="0-1"))
    assert "paired_planes is '0-1' in the table of streams; expected pairs of planes" in problem


def test_an_empty_folder_and_an_empty_file(tmp_path):
    (problem,) = check_plane(plane(tmp_path))
    assert problem.startswith(
        f"{tmp_path}: holds no movie (*.tif, *.tiff, *.btf, *.tf8); found nothing. Copy the files"
    )
    write_json(tmp_path)
    (tmp_path / "a.h5").touch()
    assert "found a.h5, imaging.json" in check_plane(plane(tmp_path))[0]
    assert f"{tmp_path / 'a.h5'}: is empty (0 bytes)" in check_plane(plane(tmp_path, "h5"))[0]
    assert "no such file or folder" in check_plane(plane(tmp_path / "none"))[0]


def test_files_of_different_size_and_type(folder):
    write_tiff(folder / "m_2.tif", images(3, (H, W + 1)))
    with pytest.raises(InputError) as error:
        open_movie(plane(folder))
    text = str(error.value)
    assert text.startswith(f"M1/2026-01-15/001 FOV_00: {folder / 'm_2.tif'} has images of 9 x 9")
    assert f"expected 9 x 8 as in {folder / 'm_1.tif'}" in text
    write_tiff(folder / "m_2.tif", images(3).astype(np.float32))
    with pytest.raises(InputError, match="pixels of type float32, expected int16"):
        open_movie(plane(folder))


def write_ome(path, content, size_t, names=()):
    """OME-TIFF whose header says `size_t` images, and in which files they are."""
    where = "".join(f'<TiffData><UUID FileName="{name}"/></TiffData>' for name in names)
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="int16" '
        f'SizeX="{W}" SizeY="{H}" SizeC="1" SizeZ="1" SizeT="{size_t}">{where}'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(path, content, photometric="minisblack", description=text, metadata=None)


def test_fewer_images_than_the_header_says(tmp_path):
    """The chain of pages is whole, yet pages are missing; an early stop looks the same."""
    write_json(tmp_path, n_planes=1)
    file = tmp_path / "a.tif"
    write_ome(file, images(12), 12)
    assert open_movie(plane(tmp_path)).differences == [
        one for one in inspect(plane(tmp_path)).differences if one.what == "n_planes"
    ]
    write_ome(file, images(12), 20)
    movie = open_movie(plane(tmp_path))
    assert movie.n_frames == 12
    (one,) = [str(one) for one in movie.differences if one.is_difference]
    assert one == (
        "the number of images is 12 in the files' pages, which is used, and 20 in the header of "
        f"{file}"
    )


def test_a_header_may_count_the_images_of_several_files(tmp_path):
    write_json(tmp_path)
    names = ["a.tif", "b.tif"]
    for name in names:
        write_ome(tmp_path / name, images(6), 12, names)
    assert not [one for one in open_movie(plane(tmp_path)).differences if one.is_difference]
    (tmp_path / "b.tif").unlink()
    (one,) = [one for one in open_movie(plane(tmp_path)).differences if one.is_difference]
    assert (one.stated, one.of_file) == (6, 12)


def test_fewer_images_than_imagej_says(tmp_path):
    write_json(tmp_path)
    text = "ImageJ=1.53t\nimages=20\nframes=20\n"
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for image in images(12):
            file.write(image, description=text, metadata=None, contiguous=False)
    (one,) = [one for one in open_movie(plane(tmp_path)).differences if one.is_difference]
    assert (one.stated, one.of_file) == (12, 20)


# --- planes and channels ---


@pytest.mark.parametrize("order", ["CZT", "ZCT", "TZC", "CTZ", "ZTC", "TCZ"])
def test_interleaving_is_that_of_numpy(order):
    """The slow twin reshapes the list of images, whose fastest axis comes last."""
    size = {"Z": 3, "C": 2, "T": 5}
    stack = np.arange(30).reshape([size[axis] for axis in order[::-1]])
    axes = list(order[::-1])
    stack = np.moveaxis(stack, [axes.index(a) for a in "ZCT"], [0, 1, 2])
    for z in range(3):
        for c in range(2):
            first, step = interleaving(order, z, c, 3, 2, 30)
            np.testing.assert_array_equal(first + step * np.arange(5), stack[z, c])


@given(
    n_planes=st.integers(1, 4),
    n_channels=st.integers(1, 3),
    n_frames=st.integers(1, 6),
    cuts=st.lists(st.integers(1, 60), max_size=3),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_any_cut_of_any_movie(tmp_path_factory, n_planes, n_channels, n_frames, cuts, data):
    """Files may end within a volume; the slow twin numbers all images at once."""
    folder = tmp_path_factory.mktemp("cuts")
    n_images = n_planes * n_channels * n_frames
    bounds = sorted({0, n_images, *(cut for cut in cuts if cut < n_images)})
    write_json(folder, n_planes=n_planes, n_channels=n_channels)
    for k, (a, b) in enumerate(itertools.pairwise(bounds)):
        with h5py.File(folder / f"m_{k}.h5", "w") as file:
            file["mov"] = images(b - a, first=a)
    p = data.draw(st.integers(0, n_planes - 1))
    c = data.draw(st.integers(0, n_channels - 1))
    movie = open_movie(plane(folder, "h5", plane=p, channel=c))
    expected = np.arange(n_images).reshape(n_frames, n_planes, n_channels)[:, p, c]
    assert numbers(movie) == expected.tolist()
    assert sum(n for _, n in movie.files) == movie.n_frames == n_frames
    a = data.draw(st.integers(0, n_frames))
    b = data.draw(st.integers(a, n_frames + 2))
    assert movie.frames(a, b)[:, 1, 1].tolist() == expected[a:b].tolist()


def test_a_missing_plane(folder):
    write_json(folder, n_planes=5)
    assert check_plane(plane(folder)) == []
    with pytest.raises(InputError) as error:
        open_movie(plane(folder))
    text = str(error.value)
    assert "12 images in 1 file(s) are no whole number of volumes of 5 planes x 1 channels" in text
    assert "(2 are left over): a plane or a file is missing" in text
    movie = open_movie(plane(folder, plane=1), drop_incomplete_volume=True)
    assert numbers(movie) == [1, 6]
    (problem,) = check_plane(plane(folder, plane=5))
    assert f"{folder}: plane 5 is missing; there are 5 planes, counted from 0" in problem
    (problem,) = check_plane(plane(folder, channel=1))
    assert "channel 1 is missing; there are 1 channels" in problem


def test_flyback_is_no_plane(folder):
    write_json(folder, n_planes=3, flyback_planes=[2])
    assert check_plane(plane(folder, plane=1)) == []
    assert "plane 2 is recorded during flyback" in check_plane(plane(folder, plane=2))[0]


def test_flyback_of_a_header_that_counts_other_planes(tmp_path):
    """The header has three planes of which the last is flyback, the row says four."""
    scene = make_scene(seed=1, n_frames=12, height=64, width=72, n_cells=1)
    write_imaging(tmp_path, [scene, scene], format="scanimage", n_flyback=1)
    (tmp_path / "imaging.json").unlink()
    row = plane(tmp_path, plane=2, indicator="GCaMP6f")
    assert "plane 2 is recorded during flyback" in check_plane(row)[0]
    assert check_plane(replace(row, n_planes=4, sampling_rate_hz=5.0)) == []


def test_the_functional_channel(folder):
    """A row that says one wins, be it channel 0."""
    write_json(folder, n_channels=2, functional_channel=1)
    assert numbers(open_movie(plane(folder))) == [1, 3, 5, 7, 9, 11]
    assert numbers(open_movie(plane(folder, channel=0))) == [0, 2, 4, 6, 8, 10]
    write_json(folder, n_channels=2)
    assert numbers(open_movie(plane(folder, channel=1))) == [1, 3, 5, 7, 9, 11]


def test_time_must_be_last_over_several_files(tmp_path):
    content = images(6).reshape(2, 3, H, W)
    for k in range(2):
        tifffile.imwrite(
            tmp_path / f"{k}.ome.tif",
            content,
            metadata={"axes": "CTYX"},
            photometric="minisblack",
        )
    write_json(tmp_path, n_planes=1)
    with pytest.raises(InputError, match="over 2 files; expected time last"):
        open_movie(plane(tmp_path))
    (tmp_path / "1.ome.tif").unlink()
    assert numbers(open_movie(plane(tmp_path, channel=1))) == [3, 4, 5]


# --- every format, against its truth ---


@pytest.fixture(scope="module")
def scenes():
    return [make_scene(seed=k, n_frames=24, height=64, width=72, n_cells=2) for k in range(2)]


@pytest.mark.parametrize("file_format", FORMATS)
def test_made_up_movies_are_read_to_the_bit(tmp_path, scenes, file_format):
    is_nwb = file_format == "nwb"
    options = {} if is_nwb else {"n_files": 2, "n_channels": 2, "functional_channel": 1}
    write_imaging(tmp_path, scenes, format=file_format, n_flyback=1, **options)
    kind = "tiff" if file_format in ("scanimage", "ome") else file_format
    row = plane(tmp_path, kind)
    clock = np.load(tmp_path / "frame_times.npy")
    for k, scene in enumerate(scenes):
        movie = open_movie(replace(row, plane=k))
        assert (movie.n_frames, movie.height, movie.width) == scene.shape
        assert movie.dtype == np.int16
        assert (movie.sampling_rate_hz, movie.indicator) == (scene.sampling_rate_hz, "GCaMP6s")
        np.testing.assert_array_equal(movie.frames(3, 20), scene.frames(3, 20))
        np.testing.assert_array_equal(movie.clock.selected_s, clock[:, k])


def test_scanimage_needs_no_imaging_json_but_for_the_indicator(tmp_path, scenes):
    write_imaging(tmp_path, scenes, format="scanimage", n_flyback=1, n_channels=2)
    (tmp_path / "imaging.json").unlink()
    found = inspect(plane(tmp_path, plane=1, indicator="GCaMP6s"))
    assert found.problems == []
    assert (found.n_planes, found.n_channels, found.flyback_planes) == (3, 2, (2,))
    assert found.sampling_rate_hz == pytest.approx(scenes[0].sampling_rate_hz, rel=1e-6)
    assert found.um_per_pixel == pytest.approx((1, 1))


def test_a_plane_of_a_volume_axis(tmp_path, scenes):
    write_imaging(tmp_path, scenes, format="h5", volume_axis=True)
    movie = open_movie(plane(tmp_path, "h5", plane=1))
    np.testing.assert_array_equal(movie.frames(0, 24), scenes[1].frames(0, 24))


def test_the_clock_of_an_nwb_file(tmp_path):
    """Planes interleaved in one series: each has its own times of the series' timestamps."""
    path = tmp_path / "a.nwb"
    with h5py.File(path, "w") as file:
        series = file.create_group("acquisition/movie")
        series.attrs["neurodata_type"] = "TwoPhotonSeries"
        series["data"] = images(12).swapaxes(1, 2)
        series["timestamps"] = np.arange(12) / 30
    row = plane(path, "nwb", n_planes=3, plane=1, indicator="GCaMP6f")
    movie = open_movie(row)
    assert movie.sampling_rate_hz == pytest.approx(10)
    np.testing.assert_allclose(movie.clock.selected_s, (np.arange(4) * 3 + 1) / 30)
    assert numbers(movie) == [1, 4, 7, 10]
    assert (movie.height, movie.width) == (H, W)


def test_planes_of_different_size(tmp_path):
    """Series of an NWB file are planes of their own, each with its size."""
    path = tmp_path / "a.nwb"
    with h5py.File(path, "w") as file:
        for name, shape in (("upper", (6, 5)), ("lower", (3, 4))):
            series = file.create_group(f"acquisition/{name}")
            series.attrs["neurodata_type"] = "TwoPhotonSeries"
            series["data"] = images(20, shape).swapaxes(1, 2)
    row = plane(path, "nwb", sampling_rate_hz=5.0, indicator="GCaMP6f")
    assert "2 series of two-photon images (lower, upper)" in check_plane(row)[0]
    for name, shape in (("upper", (6, 5)), ("lower", (3, 4))):
        movie = open_movie(replace(row, dataset=name))
        np.testing.assert_array_equal(movie.frames(0, 20), images(20, shape))


# --- times ---


def times(movie, max_difference=0):
    """Time of each frame as `import_plane` takes them from the movie's clock."""
    return frame_times(movie.clock, movie.n_frames, max_difference=max_difference, name="S")[0]


def write_series(path, n, *, start_s=0.0, rate_hz=30.0, reference="", shape=(H, W)):
    """A series that says its start and rate, as pynwb writes it."""
    with h5py.File(path, "w") as file:
        series = file.create_group("acquisition/movie")
        series.attrs["neurodata_type"] = "TwoPhotonSeries"
        series["data"] = images(n, shape).swapaxes(1, 2)
        series["starting_time"] = start_s
        series["starting_time"].attrs["rate"] = rate_hz
        if reference:
            file["timestamps_reference_time"] = reference


@pytest.mark.parametrize("index", [0, 2])
def test_an_nwb_series_that_starts_late(tmp_path, index):
    """At 100 s; 30 images a second of 3 planes."""
    write_series(tmp_path / "a.nwb", 12, start_s=100)
    row = {"n_planes": 3, "plane": index, "indicator": "GCaMP6f"}
    movie = open_movie(plane(tmp_path, "nwb", **row))
    np.testing.assert_allclose(times(movie), 100 + (np.arange(4) * 3 + index) / 30)
    # a rate that a person corrects holds for the times too
    movie = open_movie(plane(tmp_path, "nwb", sampling_rate_hz=5.0, **row))
    np.testing.assert_allclose(times(movie), 100 + (np.arange(4) * 3 + index) / 15)


def test_channels_of_an_nwb_series_have_one_time(tmp_path):
    write_series(tmp_path / "a.nwb", 12, start_s=100)
    movie = open_movie(plane(tmp_path, "nwb", n_channels=2, channel=1, indicator="GCaMP6f"))
    np.testing.assert_allclose(times(movie), 100 + np.arange(6) / 15)


def test_nwb_files_with_a_break_between_them(tmp_path):
    """The second counts from a minute later; the first was cut within a volume."""
    write_series(tmp_path / "a_1.nwb", 7, start_s=2, reference="2026-01-15T12:00:00+00:00")
    write_series(tmp_path / "a_2.nwb", 5, start_s=1, reference="2026-01-15T13:01:00+01:00")
    row = plane(tmp_path, "nwb", n_planes=3, plane=1, indicator="GCaMP6f")
    # images 1, 4 of the first file; images 0 (frame 2) and 3 of the second
    expected = [2 + 1 / 30, 2 + 4 / 30, 61, 61 + 3 / 30]
    np.testing.assert_allclose(times(open_movie(row)), expected)
    write_series(tmp_path / "a_2.nwb", 5, start_s=1, reference="2026-01-15T12:00:00+00:00")
    with pytest.raises(InputError) as error:
        open_movie(row)
    text = str(error.value)
    assert f"{tmp_path / 'a_2.nwb'} starts at 1.000000 s, before the file before it ends" in text
    assert "(2.233333 s at 10 frames of one plane a second)" in text


def test_planes_of_a_volume_axis_follow_each_other(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mov"] = np.ones((12, H, W, 4), np.int16)
    write_json(tmp_path, frame_times="t.npy", paired_planes=[[0, 1], [2, 3]])
    for clock in (np.arange(12.0), np.arange(48) / 4):
        np.save(tmp_path / "t.npy", clock)
        own = 0.5 if len(clock) == 12 else 0.75
        assert times(open_movie(plane(tmp_path, "h5", plane=3))).tolist() == [
            k + own for k in range(12)
        ]


@pytest.mark.parametrize("n_channels", [1, 2])
def test_the_pages_of_scanimage_are_a_clock(tmp_path, scenes, n_channels):
    """Known truth: the times of the made-up clock, counted from the first image."""
    write_imaging(
        tmp_path,
        scenes,
        format="scanimage",
        n_flyback=1,
        n_channels=n_channels,
        n_files=2,
        clock_ppm=500,
        leave_out=("frame_times",),
    )
    truth = np.load(tmp_path / "frame_times.npy") - 1.25
    for k in range(2):
        movie = open_movie(plane(tmp_path, plane=k))
        # they are written to the nanosecond
        np.testing.assert_allclose(times(movie), truth[:, k], atol=1e-9)
        assert open_movie(plane(tmp_path, plane=k), with_clock=False).clock is None


def write_acquisition(path, n, start):
    """A ScanImage file of 10 Hz whose times count from the start of its acquisition."""
    software = "SI.VERSION_MAJOR = 2020\nSI.hRoiManager.scanFrameRate = 10"
    with tifffile.TiffWriter(path) as file:
        for t, image in enumerate(images(n)):
            text = f"frameTimestamps_sec = {t / 10:.9f}\nepoch = [2026 1 15 12 {start}]"
            file.write(image, contiguous=False, metadata=None, software=software, description=text)


def test_scanimage_acquisitions_one_after_the_other(tmp_path):
    write_acquisition(tmp_path / "a_1.tif", 3, "0 59.250")
    write_acquisition(tmp_path / "a_2.tif", 2, "1 30.500")
    row = plane(tmp_path, indicator="GCaMP6f")
    np.testing.assert_allclose(times(open_movie(row)), [0, 0.1, 0.2, 31.25, 31.35])
    write_acquisition(tmp_path / "a_2.tif", 2, "0 59.250")
    with pytest.raises(InputError) as error:
        times(open_movie(row))
    text = str(error.value)
    assert "does not increase: 0.200000 s for frame 2 and 0.000000 s for the next" in text
    assert "or name another one under 'frame_times' in imaging.json" in text


# --- planning ---


def settle(folder):
    """Let files look as if they were written a minute ago."""
    for path in [*folder.iterdir(), folder]:
        then = path.stat().st_mtime_ns - 60 * 10**9
        os.utime(path, ns=(then, then))


def test_planning_reads_a_header_once(tmp_path, monkeypatch):
    """However many planes, and however often they are looked at; and again if it changes."""
    write_json(tmp_path, n_planes=2)
    write_tiff(tmp_path / "a.tif", images(4))
    settle(tmp_path)
    read, n = movie_headers.read_header, []
    monkeypatch.setattr(movie_headers, "read_header", lambda *a: n.append(a) or read(*a))
    rows = [plane(tmp_path, plane=p) for p in range(2)]
    for row in fill_rows(rows):
        assert check_plane(row) == []
        assert plane_files(row)[0] == tmp_path / "a.tif"
    assert len(n) == 1
    write_tiff(tmp_path / "a.tif", images(4, (5, 6)))
    settle(tmp_path)
    assert inspect(rows[0]).header.height == 5
    assert len(n) == 2
    # what has just changed may change again within the same tick of the clock
    write_tiff(tmp_path / "b.tif", images(4, (5, 6)))
    for _ in range(2):
        assert len(inspect(rows[0]).files) == 2
