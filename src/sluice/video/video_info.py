"""What is known of one camera's compressed video."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a compressed video and of what it was made from.

    Attributes
    ----------
    name : str
        How messages call the camera: session and name.
    n_frames : int
        Frames that were decoded from the source, and from the compressed video.
    height, width : int
        Of the compressed video (pixels).
    sampling_rate_hz : float
        Frames a second: as the table of streams gives it, else by the source's frame times.
    duration_s : float
        ``n_frames / sampling_rate_hz``.
    is_constant_rate : bool
        Whether the source's frames are equally spaced in its own time.
    source : dict
        codec, pixel_format, height, width, rate_hz (what it claims), n_frames_header, n_packets,
        n_decoded, n_lost, n_damaged, n_empty (packets without a picture, as AVI has them for
        frames that were not recorded), duration_s, size_bytes, has_audio, rotation_deg,
        white_level.
    size_bytes : int
        Of the compressed video.
    encoder : str
        With its options, as ffmpeg was called.
    """

    name: str
    n_frames: int
    height: int
    width: int
    sampling_rate_hz: float
    duration_s: float
    is_constant_rate: bool
    source: dict
    size_bytes: int
    encoder: str


def save_video_info(info, path):
    """Write the facts as JSON."""
    Path(path).write_text(json.dumps(asdict(info), indent=1) + "\n", encoding="utf-8")


def load_video_info(path):
    """Read facts written by `save_video_info`."""
    return VideoInfo(**json.loads(Path(path).read_text(encoding="utf-8")))
