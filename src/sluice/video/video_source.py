"""What a video says of itself, before any of its frames is used."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.io.video_container import Container, read_container
from sluice.video.ffmpeg import failure, ffmpeg_exe, file_url, running

# "Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(tv), 640x480 [SAR …"
STREAM = re.compile(r"^\s*Stream #0:\d+\S*: (Video|Audio): (.*)$", re.MULTILINE)
PICTURE = re.compile(r", (\w+)(?:\(([^)]*)\))?, (\d+)x(\d+)")
RATE = re.compile(r", ([\d.]+)(k?) fps")
DURATION = re.compile(r"Duration: (\d+):(\d+):([\d.]+)")
START = re.compile(r"Duration: [^,]*, start: (-?[\d.]+)")
# Of Matroska, which says it for each stream too: "      DURATION        : 00:00:05.000000000"
STREAM_DURATION = re.compile(r"^\s*DURATION\s*: (\d+):(\d+):([\d.]+)", re.MULTILINE)
FORMAT = re.compile(r"^Input #0, (.*), from ", re.MULTILINE)
AUDIO_RATE = re.compile(r", (\d+) Hz")
# Formats whose header says how long a file lasts; of others ffmpeg's duration is a guess.
TIMED = ("matroska", "flv", "asf")
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
    frames_duration_s : float or None
        From the beginning of the file to the end of the last frame by its header: of the stream,
        or of a file that has no other stream. None where it says nothing, or where its duration
        is a guess.
    audio : tuple of str
        Codec of each track of sound.
    audio_rates_hz : tuple of int
        Of each; 0 where it is not known.
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
    frames_duration_s: float | None = None
    audio: tuple = field(default_factory=tuple)
    audio_rates_hz: tuple = field(default_factory=tuple)
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
    sounds = [s for kind, s in streams if kind == "Audio"]
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
        frames_duration_s=frames_duration(text),
        audio=tuple(re.match(r"\w+", s)[0] for s in sounds),
        audio_rates_hz=tuple(int(r[1]) if (r := AUDIO_RATE.search(s)) else 0 for s in sounds),
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


def frames_duration(text):
    """How long the frames last by the header of a file.

    Parameters
    ----------
    text : str
        What ffmpeg says of the file.

    Returns
    -------
    float or None
        See `VideoSource.frames_duration_s`. Durations of Matroska are times of the end; the
        time at which the file begins is taken off.
    """
    found = FORMAT.search(text)
    if found is None or not found[1].startswith(TIMED):
        return None
    # the description of each stream goes to that of the next
    parts = re.split(r"^\s*(?=Stream #0:)", text, flags=re.MULTILINE)
    heads = [part.partition("\n")[0] for part in parts]
    video = next(
        part
        for part, head in zip(parts, heads, strict=True)
        if ": Video: " in head and "(attached pic)" not in head
    )
    duration_s = _seconds(STREAM_DURATION.search(video))
    if duration_s is None and len(parts) == 2:
        duration_s = _seconds(DURATION.search(text))
    if duration_s is None:
        return None
    start = START.search(text)
    return duration_s - max(0.0, float(start[1]) if start else 0.0)


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


def find_white_level(source, *, threads, name):
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
    name : str
        How messages call the camera.

    Returns
    -------
    white_level : int
        Largest level of the fewest of 8, 10, 12, 14 or 16 bits that hold every pixel.
    highest : int
        The brightest pixel.

    Raises
    ------
    FfmpegError
        ffmpeg failed. Frames that cannot be decoded are no failure: they are counted later.
    """
    wanted = "gray16le" if source.n_components <= 2 else "rgb48le"
    options = [w for key, value in demuxer_options(source).items() for w in (f"-{key}", str(value))]
    command = [
        *(ffmpeg_exe(), "-nostdin", "-loglevel", "repeat+level+error", "-threads", str(threads)),
        *("-noautorotate", "-max_error_rate", "1", *options, "-i", file_url(source.path)),
        *("-map", "0:V:0", "-fps_mode", "passthrough"),
        *("-f", "rawvideo", "-pix_fmt", wanted, "pipe:1"),
    ]
    highest = 0
    # a file, since a second pipe that nobody reads would stop ffmpeg
    with tempfile.TemporaryFile() as log:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": log}
        with running(command, **pipes) as process:
            # a buffered pipe: only the last chunk is shorter
            while chunk := process.stdout.read(CHUNK_BYTES):
                pixels = np.frombuffer(chunk, "<u2", count=len(chunk) // 2)
                highest = max(highest, int(pixels.max(initial=0)))
        if process.returncode:
            log.seek(0)
            lines = log.read().decode("utf-8", errors="replace").splitlines()
            raise failure(f"{name}: looking for white in {source.path.name}", lines)
    bits = next(bits for bits in DEPTHS if highest < 1 << bits)
    return (1 << bits) - 1, highest
