"""What a video says of itself, before any of its frames is used."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.io.video_container import Container, read_container
from sluice.video.ffmpeg import ffmpeg_exe, file_url, running

# "Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(tv), 640x480 [SAR …"
STREAM = re.compile(r"^\s*Stream #0:\d+\S*: (Video|Audio): (.*)$", re.MULTILINE)
PICTURE = re.compile(r", (\w+)(?:\(([^)]*)\))?, (\d+)x(\d+)")
RATE = re.compile(r", ([\d.]+)(k?) fps")
DURATION = re.compile(r"Duration: (\d+):(\d+):([\d.]+)")
ROTATION = re.compile(r"rotation of (-?[\d.]+) degrees")
# Read at once, in search of the brightest pixel.
CHUNK_BYTES = 1 << 24
# How many bits of a 16-bit pixel cameras use.
DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class VideoSource:
    """What a video file says of itself.

    Attributes
    ----------
    path : Path
    container : sluice.io.video_container.Container
        What its header counts.
    codec, pixel_format : str
        As ffmpeg calls them.
    height, width : int
        Of the frames as stored; a rotation that the file asks of players is left alone.
    n_components, depth : int
        Of the pixel format: 1 for grey, and bits of a component.
    is_rgb : bool
        Colour is stored as red, green and blue.
    is_full_range : bool
        Levels go from 0 to 255 (in 8 bits), not from 16 to 235. Grey and RGB do.
    rate_hz, duration_s : float or None
        Of the header.
    rotation_deg : float
        By which players turn the frames.
    audio : tuple of str
        Codec of each track of sound.
    size_bytes : int
    n_video_streams : int
    """

    path: Path
    container: Container
    codec: str
    pixel_format: str
    height: int
    width: int
    n_components: int
    depth: int
    is_rgb: bool
    is_full_range: bool
    rate_hz: float | None
    duration_s: float | None
    rotation_deg: float
    audio: tuple = field(default_factory=tuple)
    size_bytes: int = 0
    n_video_streams: int = 1

    @property
    def expected_frames(self):
        """Frames by the header, else by its duration; None where it says neither."""
        if self.container.n_frames:
            return self.container.n_frames
        if self.rate_hz and self.duration_s:
            return round(self.rate_hz * self.duration_s)
        return None


def read_source(path, *, name):
    """Read what a video file says of itself.

    Parameters
    ----------
    path : str or Path
    name : str
        How messages call the camera.

    Returns
    -------
    VideoSource

    Raises
    ------
    InputError
        The file is missing, empty, no video, or without a frame that can be decoded.
    """
    path = Path(path)
    try:
        container = read_container(path)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    text = _describe(path)
    streams = STREAM.findall(text)
    # the cover of a music file is a video of one frame
    videos = [s for kind, s in streams if kind == "Video" and "(attached pic)" not in s]
    if not videos:
        said = [line for line in text.splitlines() if line.strip()][-1:]
        raise InputError(
            f"{name}: {path} has no video that ffmpeg can read ({' '.join(said)}). Correct the "
            "path in the table of streams, or copy the file again."
        )
    picture = PICTURE.search(videos[0])
    codec = videos[0].split()[0].rstrip(",")
    if codec in ("none", "unknown"):
        raise InputError(
            f"{name}: {path} is of a codec that ffmpeg does not know ({videos[0]}). Convert it "
            "with the camera's own program."
        )
    if picture is None or picture[1] == "none":
        raise InputError(
            f"{name}: {path} has no frame that can be decoded ({videos[0].strip()}). Copy it "
            "again; if nothing was recorded, leave the row out of the table of streams."
        )
    n_components, depth, is_rgb = _describe_format(picture[1])
    rate, duration, rotation = (r.search(t) for r, t in _searched(videos[0], text))
    return VideoSource(
        path=path,
        container=container,
        codec=codec,
        pixel_format=picture[1],
        height=int(picture[4]),
        width=int(picture[3]),
        n_components=n_components,
        depth=depth,
        is_rgb=is_rgb,
        is_full_range=(
            is_rgb
            or n_components <= 2
            or picture[1].startswith("yuvj")
            or (picture[2] or "").startswith("pc")
        ),
        rate_hz=float(rate[1]) * (1000 if rate[2] else 1) or None if rate else None,
        duration_s=_seconds(duration),
        rotation_deg=float(rotation[1]) if rotation else 0.0,
        audio=tuple(re.match(r"\w+", s)[0] for kind, s in streams if kind == "Audio"),
        size_bytes=path.stat().st_size,
        n_video_streams=len(videos),
    )


def _searched(video, text):
    return (RATE, video), (DURATION, text), (ROTATION, text)


def _seconds(duration):
    """Hours, minutes and seconds as seconds."""
    if duration is None:
        return None
    hours, minutes, seconds = duration.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _describe(path):
    """Let ffmpeg describe a file; without an output it ends with an error after that."""
    done = subprocess.run(
        [ffmpeg_exe(), "-hide_banner", "-nostdin", "-i", file_url(path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stderr.removesuffix("At least one output file must be specified\n")


def _describe_format(pixel_format):
    """Components, bits of a component and whether they are colours, from ffmpeg's own list."""
    done = subprocess.run(
        [ffmpeg_exe(), "-hide_banner", "-pix_fmts"], capture_output=True, text=True, check=True
    )
    # "IO... gray16le               1             16      16"
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) == 5 and words[1] == pixel_format:
            depth = max(int(bits) for bits in words[4].split("-"))
            return int(words[2]), depth, bool(re.match(r"(rgb|bgr|gbr|argb|abgr)", pixel_format))
    raise RuntimeError(f"ffmpeg does not list its own pixel format {pixel_format}")


def demuxer_options(source):
    """Options with which all frames of a source are read.

    An edit list of an MP4 may hide frames from players; they are kept, and its shift of all
    times too.

    Parameters
    ----------
    source : sluice.video.video_source.VideoSource

    Returns
    -------
    dict
        Of ffmpeg's input.
    """
    return {"advanced_editlist": 0} if source.container.kind == "mp4" else {}


def find_white_level(source, *, threads):
    """Grey level that stands for white in a video of 16 bits, by its brightest pixel.

    Cameras of 10, 12 or 14 bits are often stored in 16 bits without saying so; as they are,
    such videos are black to the eye and lose all but a few levels in 8 bits. The video is read
    once.

    Parameters
    ----------
    source : VideoSource
        Of 16 bits, grey or of colours.
    threads : int
        Of ffmpeg.

    Returns
    -------
    white_level : int
        Largest level of the fewest of 8, 10, 12, 14 or 16 bits that hold every pixel.
    highest : int
        The brightest pixel.
    """
    wanted = "gray16le" if source.n_components <= 2 else "rgb48le"
    command = [
        ffmpeg_exe(),
        *("-nostdin", "-loglevel", "quiet", "-threads", str(threads), "-noautorotate"),
        *("-i", file_url(source.path), "-map", "0:V:0", "-fps_mode", "passthrough"),
        *("-f", "rawvideo", "-pix_fmt", wanted, "pipe:1"),
    ]
    highest = 0
    with running(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        # a buffered pipe: only the last chunk is shorter
        while chunk := process.stdout.read(CHUNK_BYTES):
            pixels = np.frombuffer(chunk, "<u2", count=len(chunk) // 2)
            highest = max(highest, int(pixels.max(initial=0)))
    bits = next(bits for bits in DEPTHS if highest < 1 << bits)
    return (1 << bits) - 1, highest
