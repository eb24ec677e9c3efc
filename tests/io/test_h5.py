"""HDF5 movies: which dataset, which axes, and damaged files."""

import h5py
import numpy as np
import pytest

from sluice.errors import InputError
from sluice.io.h5 import H5Part, read_header

T, H, W = 30, 12, 10


def movie(shape=(T, H, W)):
    return np.random.default_rng(2).integers(0, 3000, shape).astype(np.int16)


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def test_the_only_movie_is_found(tmp_path):
    """Other datasets have too few axes, or hold no numbers."""
    path = write(
        tmp_path / "a.h5", scan__data=movie(), mean=np.zeros((H, W)), names=np.array([[[b"a"]]])
    )
    header = read_header(path, "")
    assert (header.height, header.width, header.dtype) == (H, W, "int16")
    assert (header.n_planes, header.sampling_rate_hz, header.is_volume) == (None, None, False)
    part = H5Part(path, "")
    assert (part.n_images, part.height, part.width, part.dtype) == (T, H, W, np.int16)


@pytest.mark.parametrize("chunks", [None, (4, H, W), (1, 5, 5)])
def test_images_of_any_layout(tmp_path, chunks):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("mov", data=movie(), chunks=chunks, compression=chunks and "gzip")
    for first, count, step in ((0, T, 1), (5, 7, 1), (2, 9, 3), (T - 1, 1, 4)):
        found, bad = H5Part(path, "mov").read(first, count, step)
        np.testing.assert_array_equal(found, movie()[first::step][:count])
        assert not bad


def test_planes_as_the_last_axis(tmp_path):
    volume = movie((T, H, W, 3))
    path = write(tmp_path / "a.h5", mov=volume)
    header = read_header(path, "mov")
    assert (header.n_planes, header.is_volume, header.height, header.width) == (3, True, H, W)
    for plane in range(3):
        found, _ = H5Part(path, "mov", plane=plane).read(4, 5, 2)
        np.testing.assert_array_equal(found, volume[4:14:2, :, :, plane])


def test_big_endian(tmp_path):
    path = write(tmp_path / "a.h5", mov=movie().astype(">i2"))
    assert read_header(path, "").dtype == "int16"
    np.testing.assert_array_equal(H5Part(path, "").read(0, T, 1)[0], movie())


def test_a_wrong_name_lists_those_there_are(tmp_path):
    path = write(tmp_path / "a.h5", mov=movie(), scan__ch2=movie((T, H, W, 2)), mean=np.zeros(3))
    for name in ("data", "mean", "scan"):
        with pytest.raises(InputError) as error:
            read_header(path, name)
        text = str(error.value)
        assert f"{path}: dataset {name!r} is not a movie in this file" in text
        assert f"mov ({T}, {H}, {W}), scan/ch2 ({T}, {H}, {W}, 2)" in text
        assert "Correct 'dataset'" in text
    with pytest.raises(InputError, match="2 datasets could be the movie"):
        read_header(path, "")
    assert read_header(path, "/scan/ch2").n_planes == 2


def test_no_movie_at_all(tmp_path):
    with pytest.raises(InputError, match=r"0 datasets could be the movie \(none\)"):
        read_header(write(tmp_path / "a.h5", mean=np.zeros((H, W))), "")


def test_cut_short_and_no_hdf5(tmp_path):
    path = write(tmp_path / "a.h5", mov=movie())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"a\.h5: the file was cut short .*Copy it again"):
        read_header(path, "")
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(InputError, match=r"a\.h5: is no HDF5 file that can be read"):
        H5Part(path, "")


def test_a_damaged_chunk_does_not_take_the_others_with_it(tmp_path):
    path, images = tmp_path / "a.h5", movie()
    with h5py.File(path, "w") as file:
        data = file.create_dataset("mov", data=images, chunks=(2, H, W), compression="gzip")
        chunk = data.id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    found, bad = H5Part(path, "mov").read(5, 10, 1)
    # chunk 3 holds images 6 and 7
    assert list(bad) == [1, 2]
    assert "image 6" in bad[1]
    images[6:8] = 0
    np.testing.assert_array_equal(found, images[5:15])


def test_the_real_clip(real_data):
    path = real_data / "two_photon" / "movie_100x100x100.h5"
    header = read_header(path, "")
    assert (header.height, header.width, header.dtype) == (100, 100, "int16")
    images, bad = H5Part(path, "").read(0, 100, 1)
    assert not bad
    assert (images.min(), images.max()) == (17, 1891)
