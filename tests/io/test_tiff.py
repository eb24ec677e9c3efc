"""TIFF movies of every kind that microscopes write, and damaged ones."""

import struct

import numpy as np
import pytest
import tifffile

from sluice.errors import InputError
from sluice.io.tiff import TiffPart
from sluice.io.tiff_header import page_times, read_header

T, H, W = 7, 24, 20
SCANIMAGE = {
    "SI.VERSION_MAJOR": "2020",
    "SI.hChannels.channelSave": "[1;2]",
    "SI.hFastZ.enable": "true",
    "SI.hFastZ.numFramesPerVolume": "4",
    "SI.hFastZ.numDiscardFlybackFrames": "1",
    "SI.hRoiManager.scanFrameRate": "30",
    "SI.hRoiManager.scanVolumeRate": "7.5",
    "SI.hRoiManager.imagingFovUm": "[-20 -12;20 -12;20 12;-20 12]",
}


def movie(dtype="int16", shape=(T, H, W)):
    rng = np.random.default_rng(1)
    return rng.integers(0, 200, shape).astype(dtype)


def write_pages(path, images, **options):
    """One directory and its pixels after the other."""
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as file:
        for image in images:
            file.write(image, contiguous=False, metadata=None, photometric="minisblack", **options)


def write_scanimage(path, images, facts=SCANIMAGE, description=""):
    """Classic TIFF with the facts in the Software tag, as ScanImage 2016 and later writes it."""
    software = "\n".join(f"{key} = {value}" for key, value in facts.items())
    with tifffile.TiffWriter(path) as file:
        for image in images:
            file.write(
                image, contiguous=False, metadata=None, software=software, description=description
            )


def plain(path, images):
    tifffile.imwrite(path, images, photometric="minisblack")


def pages(path, images):
    write_pages(path, images)


def big(path, images):
    write_pages(path, images, bigtiff=True)


def strips(path, images):
    write_pages(path, images, rowsperstrip=5)


def big_endian(path, images):
    tifffile.imwrite(path, images, photometric="minisblack", byteorder=">")


def imagej(path, images):
    tifffile.imwrite(path, images, imagej=True)


def one_directory(path, images):
    tifffile.imwrite(path, images, photometric="minisblack", truncate=True)


def ome(path, images):
    tifffile.imwrite(path, images, ome=True, metadata={"axes": "TYX"}, photometric="minisblack")


def zipped(path, images):
    write_pages(path, images, compression="zlib")


def lzw_predictor(path, images):
    write_pages(path, images, compression="lzw", predictor=True)


def tiled(path, images):
    write_pages(path, images, tile=(16, 16))


WRITERS = [
    plain,
    pages,
    big,
    strips,
    big_endian,
    imagej,
    one_directory,
    ome,
    zipped,
    lzw_predictor,
    tiled,
]


# ImageJ has no int16
@pytest.mark.parametrize(
    ("write", "dtype"),
    [
        (write, dtype)
        for write in WRITERS
        for dtype in ("uint8", "uint16", "int16", "float32")
        if (write, dtype) != (imagej, "int16")
    ],
)
def test_every_writer_and_type(tmp_path, write, dtype):
    """The slow twin is tifffile, which reads the whole file."""
    path, images = tmp_path / "a.tif", movie(dtype)
    write(path, images)
    expected = tifffile.imread(path)
    np.testing.assert_array_equal(expected, images)
    part = TiffPart(path)
    assert (part.n_images, part.height, part.width) == (T, H, W)
    assert part.dtype.newbyteorder("=") == np.dtype(dtype)
    for first, count, step in ((0, T, 1), (2, 3, 1), (1, 2, 3), (T - 1, 1, 5), (0, 3, 3)):
        found, bad = part.read(first, count, step)
        np.testing.assert_array_equal(found, images[first::step][:count])
        assert not bad


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float64", "int8"])
def test_wide_types(tmp_path, dtype):
    images = movie(dtype) // 2
    plain(tmp_path / "a.tif", images)
    np.testing.assert_array_equal(TiffPart(tmp_path / "a.tif").read(0, T, 1)[0], images)


def test_imagej_beyond_4_gb(tmp_path):
    """A sparse file with one directory for 5 GB of images, as ImageJ writes it."""
    n, height, width = 40, 8192, 8192
    path, first = tmp_path / "a.tif", np.zeros((1, height, width), np.uint16)
    tifffile.imwrite(path, first, imagej=True, metadata={"axes": "TYX", "pad": "0123456789"})
    with tifffile.TiffFile(path) as file:
        tag, offset = file.pages[0].tags[270], file.pages[0].dataoffsets[0]
    text = f"ImageJ=1.11a\nimages={n}\nframes={n}\nfinterval=0.1\n".encode()
    assert len(text) <= tag.count
    marker = np.arange(width, dtype="<u2" if tag.parent.byteorder == "<" else ">u2")
    with path.open("r+b") as file:
        file.seek(tag.valueoffset)
        file.write(text.ljust(tag.count, b"\0"))
        # the last row of the last image
        file.seek(offset + n * height * width * 2 - width * 2)
        file.write(marker.tobytes())
    assert path.stat().st_size > 5e9
    part = TiffPart(path)
    assert part.n_images == n
    images, _ = part.read(n - 1, 1, 1)
    np.testing.assert_array_equal(images[0, -1], marker)
    assert not images[0, :-1].any()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(InputError, match=f"its header says {n} images, {n - 1} are there"):
        TiffPart(path)


def test_scanimage_classic(tmp_path):
    path = tmp_path / "a.tif"
    write_scanimage(path, movie(), description="frameNumbers = 1\nepoch = [2026 1 15 12 0 3.25]")
    header = read_header(path)
    assert (header.height, header.width, header.dtype) == (H, W, "int16")
    assert (header.n_planes, header.n_channels, header.flyback_planes) == (4, 2, (3,))
    assert header.sampling_rate_hz == 7.5
    # 24 µm over 24 rows and 40 µm over 20 columns
    assert header.um_per_pixel == (1.0, 2.0)
    assert header.start_time.startswith("2026-01-15T12:00:03")
    assert TiffPart(path).n_images == T


def test_scanimage_of_one_plane(tmp_path):
    facts = SCANIMAGE | {"SI.hFastZ.enable": "false", "SI.hChannels.channelSave": "1"}
    write_scanimage(tmp_path / "a.tif", movie(), facts)
    header = read_header(tmp_path / "a.tif")
    assert (header.n_planes, header.n_channels, header.flyback_planes) == (1, 1, ())
    assert header.sampling_rate_hz == 30


@pytest.mark.parametrize("is_volume", ["true", "false"])
def test_scanimage_averages_frames_before_it_saves_them(tmp_path, is_volume):
    """30 Hz of the scanner, of which four make one that is saved."""
    facts = SCANIMAGE | {"SI.hFastZ.enable": is_volume, "SI.hScan2D.logAverageFactor": "4"}
    write_scanimage(tmp_path / "a.tif", movie(), facts)
    expected = 7.5 / 4 if is_volume == "true" else 7.5
    assert read_header(tmp_path / "a.tif").sampling_rate_hz == expected


def test_scanimage_pages_have_times(tmp_path):
    """In each page's description; the last of them lacks it."""
    path = tmp_path / "a.tif"
    software = "\n".join(f"{key} = {value}" for key, value in SCANIMAGE.items())
    texts = [f"frameNumbers = {t}\nframeTimestamps_sec = {t / 30:.9f}\n" for t in range(T - 1)]
    with tifffile.TiffWriter(path) as file:
        for image, text in zip(movie(), [*texts, "frameNumbers = 7"], strict=True):
            file.write(image, contiguous=False, metadata=None, software=software, description=text)
    assert read_header(path).has_times
    times = page_times(TiffPart(path))
    np.testing.assert_allclose(times[:-1], np.arange(T - 1) / 30, atol=1e-9)
    assert np.isnan(times[-1])
    write_scanimage(path, movie())
    assert not read_header(path).has_times


def test_scanimage_rate_of_a_volume_that_is_not_said(tmp_path):
    facts = {k: v for k, v in SCANIMAGE.items() if "scanVolumeRate" not in k}
    write_scanimage(tmp_path / "a.tif", movie(), facts)
    assert read_header(tmp_path / "a.tif").sampling_rate_hz == 7.5


def test_scanimage_with_several_regions_is_refused(tmp_path):
    """Written as BigTIFF with ScanImage's block of text and regions behind the header."""
    path, text = tmp_path / "a.tif", b"SI.hChannels.channelSave = 1\nSI.VERSION_MAJOR = 2020\0"
    rois = b'{"RoiGroups": {"imagingRoiGroup": {"rois": [{"name": "a"}, {"name": "b"}]}}}\0'
    start = 32 + len(text) + len(rois)
    tags = [
        (256, 4, 1, W),
        (257, 4, 1, H),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 16, 1, start + 8 + 20 * 9 + 8),
        (277, 3, 1, 1),
        (279, 16, 1, H * W * 2),
        (305, 2, len(text), 32),
    ]
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, start))
        file.write(struct.pack("<IIII", 0x07030301, 4, len(text), len(rois)) + text + rois)
        file.write(struct.pack("<Q", len(tags)))
        file.write(b"".join(struct.pack("<HHQQ", *tag) for tag in tags) + bytes(8))
        file.write(movie()[0].tobytes())
    (problem,) = read_header(path).problems
    assert f"{path}: holds 2 regions (mROI) one above the other" in problem
    np.testing.assert_array_equal(TiffPart(path).read(0, 1, 1)[0], movie()[:1])


def test_ome_header(tmp_path):
    metadata = {
        "axes": "TZCYX",
        "PhysicalSizeX": 800.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 1.2,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": 50.0,
        "TimeIncrementUnit": "ms",
    }
    images = movie(shape=(4, 3, 2, H, W))
    tifffile.imwrite(tmp_path / "a.ome.tif", images, metadata=metadata, photometric="minisblack")
    header = read_header(tmp_path / "a.ome.tif")
    assert (header.n_planes, header.n_channels, header.order) == (3, 2, "CZT")
    assert header.um_per_pixel == pytest.approx((1.2, 0.8))
    assert header.sampling_rate_hz == pytest.approx(20)


def test_ome_with_planes_before_channels(tmp_path):
    images = movie(shape=(4, 2, 3, H, W))
    tifffile.imwrite(
        tmp_path / "a.ome.tif", images, metadata={"axes": "TCZYX"}, photometric="minisblack"
    )
    header = read_header(tmp_path / "a.ome.tif")
    assert (header.n_planes, header.n_channels, header.order) == (3, 2, "ZCT")


def test_a_stack_that_is_a_movie_says_nothing_of_planes(tmp_path):
    """ImageJ and OME writers call a movie a z-stack if nobody told them otherwise."""
    tifffile.imwrite(tmp_path / "a.tif", movie("uint16"), imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(
        tmp_path / "b.ome.tif", movie(), metadata={"axes": "ZYX"}, photometric="minisblack"
    )
    for name in ("a.tif", "b.ome.tif"):
        header = read_header(tmp_path / name)
        assert (header.n_planes, header.n_channels) == (None, None)


def test_imagej_header(tmp_path):
    images = movie("uint16", (5, 3, 2, H, W))
    metadata = {"axes": "TZCYX", "finterval": 0.25, "unit": "um"}
    tifffile.imwrite(
        tmp_path / "a.tif", images, imagej=True, resolution=(2.0, 4.0), metadata=metadata
    )
    header = read_header(tmp_path / "a.tif")
    assert (header.n_planes, header.n_channels) == (3, 2)
    assert header.sampling_rate_hz == 4
    assert header.um_per_pixel == (0.25, 0.5)


def test_a_plain_file_says_nothing(tmp_path):
    plain(tmp_path / "a.tif", movie())
    header = read_header(tmp_path / "a.tif")
    assert (header.sampling_rate_hz, header.n_planes, header.n_channels) == (None, None, None)


@pytest.mark.parametrize("write", [plain, pages, big, strips, imagej, one_directory, ome, zipped])
@pytest.mark.parametrize("lost", [0.01, 0.3, 0.8])
def test_cut_short(tmp_path, write, lost):
    """Within the last page, and within the chain of pages."""
    path = tmp_path / "a.tif"
    write(path, movie("uint16"))
    n_bytes = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(n_bytes * (1 - lost)))
    with pytest.raises(InputError) as error:
        TiffPart(path)
    assert f"{path}: the file was cut short" in str(error.value)
    assert "Copy it again" in str(error.value)


def test_cut_at_every_length(tmp_path):
    """No length makes a shorter movie of it, or an error that names no file."""
    path, copy = tmp_path / "a.tif", tmp_path / "b.tif"
    write_pages(path, movie(shape=(3, 8, 8)))
    content = path.read_bytes()
    # the file ends with the pixels of the last page
    assert TiffPart(path).n_images == 3
    for n_bytes in range(1, len(content)):
        copy.write_bytes(content[:n_bytes])
        with pytest.raises(InputError, match=r"b\.tif"):
            TiffPart(copy)


def test_a_damaged_page_does_not_take_the_others_with_it(tmp_path):
    path, images = tmp_path / "a.tif", movie()
    zipped(path, images)
    with tifffile.TiffFile(path) as file:
        start, size = file.pages[3].dataoffsets[0], file.pages[3].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    found, bad = TiffPart(path).read(1, 5, 1)
    assert list(bad) == [2]
    assert "image 3" in bad[2]
    images[3] = 0
    np.testing.assert_array_equal(found, images[1:6])


def test_colours_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, movie("uint8", (T, H, W, 3)), photometric="rgb")
    expected = "is a colour picture (3 values a pixel); expected grey values"
    assert expected in read_header(path).problems[0]
    with pytest.raises(InputError) as error:
        TiffPart(path)
    assert expected in str(error.value)


def test_pages_of_different_size(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for shape in ((H, W), (H, W), (H, W + 1)):
            file.write(np.zeros(shape, np.int16), metadata=None, contiguous=False)
    with pytest.raises(InputError, match="page 2 has 24 x 21 pixels of type int16, expected 24 x"):
        TiffPart(path)


def test_no_tiff(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    for read in (TiffPart, read_header):
        with pytest.raises(InputError, match=r"a\.tif: is no TIFF file"):
            read(path)


def test_a_chain_that_bites_its_tail(tmp_path):
    path = tmp_path / "a.tif"
    write_pages(path, movie(shape=(2, 8, 8)))
    with tifffile.TiffFile(path) as file:
        first, second = (page.offset for page in file.pages)
        n_tags = len(file.pages[1].tags)
    with path.open("r+b") as file:
        file.seek(second + 2 + 12 * n_tags)
        file.write(struct.pack("<I", first))
    with pytest.raises(InputError, match="page 2 leads back to an earlier one"):
        TiffPart(path)
