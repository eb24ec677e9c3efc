"""Which frames a decoder gives, at what times, and which packets it was given.

ffmpeg writes one line for each frame that comes from the decoder and goes to the encoder
(``-stats_enc_pre``), and with ``-f framecrc`` one for each packet of the file; counts and times
are from there. What a file's header claims is not among them.
"""

import re
from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sluice.video.ffmpeg import TROUBLE, attempt, file_url

# Time of a frame in the source and as it is encoded, in ticks, each with the length of a tick.
FRAME_FORMAT = "{ptsi} {tbi} {pts} {tb}"
NO_TIME = -(2**63)
CORRUPT = 2  # AV_PKT_FLAG_CORRUPT
FLAGS = re.compile(r"F=0x([0-9A-Fa-f]+)")


@dataclass(frozen=True)
class Frames:
    """Frames that a decoder gave, in their order.

    Attributes
    ----------
    times_s : float64 array, shape (n_frames,)
        In the file; where it has none, as ffmpeg derives it from its neighbours.
    encoded_s : float64 array, shape (n_frames,)
        As they were encoded.
    tick_s : float
        Of the file's clock.
    n_without_time : int
    """

    times_s: np.ndarray
    encoded_s: np.ndarray
    tick_s: float
    n_without_time: int

    def __len__(self):
        return len(self.times_s)


@dataclass(frozen=True)
class Packets:
    """What the demuxer found in a file.

    Attributes
    ----------
    n : int
        Packets of the video that hold something.
    n_corrupt : int
        That the demuxer knows to be cut short.
    """

    n: int
    n_corrupt: int


@dataclass(frozen=True)
class Decoded:
    """What one pass over a video gave.

    Attributes
    ----------
    frames : Frames
    packets : Packets or None
        None where they were not counted.
    trouble : list of str
        What ffmpeg complained about.
    """

    frames: Frames
    packets: Packets | None
    trouble: list


def read_frame_log(path):
    """Read the lines of ``-stats_enc_pre`` in `FRAME_FORMAT`.

    Parameters
    ----------
    path : path
        A file that is missing has no frames.

    Returns
    -------
    Frames
    """
    times_s, encoded_s, lengths = array("d"), array("d"), {}
    n_without_time, tick_s = 0, 0.0
    if Path(path).is_file():
        # line by line: a day of video has many millions
        with Path(path).open() as file:
            for line in file:
                ticks_in, length_in, ticks, length = line.split()
                tick_s = tick_s or float(Fraction(length_in))
                encoded_s.append(_seconds(ticks, length, lengths))
                if int(ticks_in) == NO_TIME:
                    n_without_time += 1
                    times_s.append(encoded_s[-1])
                else:
                    times_s.append(_seconds(ticks_in, length_in, lengths))
    return Frames(np.frombuffer(times_s), np.frombuffer(encoded_s), tick_s, n_without_time)


def _seconds(ticks, length, lengths):
    """Time in s; fractions are kept in `lengths`, as there are one or two of them."""
    if length not in lengths:
        lengths[length] = Fraction(length)
    fraction = lengths[length]
    return int(ticks) * fraction.numerator / fraction.denominator


def read_packet_log(path):
    """Read the lines of ``-f framecrc``.

    Parameters
    ----------
    path : path
        A file that is missing has no packets.

    Returns
    -------
    Packets
    """
    n, n_corrupt = 0, 0
    if Path(path).is_file():
        with Path(path).open() as file:
            for line in file:
                if line.startswith("#"):
                    continue
                # stream, dts, pts, duration, size, checksum, flags unless they are 1
                if int(line.split(",")[4]) == 0:
                    continue
                n += 1
                flags = FLAGS.search(line)
                n_corrupt += bool(flags and int(flags[1], 16) & CORRUPT)
    return Packets(n, n_corrupt)


def packet_output(stream, path):
    """Output of ffmpeg that writes a line for each packet of a stream, without decoding it.

    Parameters
    ----------
    stream : ffmpeg.nodes.FilterableStream
        Of an input.
    path : path

    Returns
    -------
    ffmpeg.nodes.OutputStream
    """
    import ffmpeg

    return ffmpeg.output(
        stream, file_url(path), format="framecrc", copyinkf=None, **{"c:v": "copy"}
    )


def decode(
    path,
    folder,
    *,
    threads,
    name,
    is_strict=False,
    count_packets=False,
    input_options=None,
    n_frames=None,
):
    """Decode a video to nothing and note its frames.

    Parameters
    ----------
    path : path
    folder : path
        For temporary files.
    threads : int
    name : str
        For the lines of progress.
    is_strict : bool
        Leave out each frame at which the decoder finds an error, instead of hiding the damage.
    count_packets : bool
    input_options : dict, optional
        More options of the input.
    n_frames : int, optional
        That are expected, for the progress.

    Returns
    -------
    Decoded
    """
    import ffmpeg

    frame_log, packet_log = Path(folder) / "decoded.txt", Path(folder) / "decoded_packets.txt"
    for log in (frame_log, packet_log):
        log.unlink(missing_ok=True)
    options = {"threads": threads, "noautorotate": None, **(input_options or {})}
    if is_strict:
        options |= {"err_detect": "explode", "fflags": "+discardcorrupt", "max_error_rate": 1}
    stream = ffmpeg.input(file_url(path), **options)["V:0"]
    output = ffmpeg.output(
        stream,
        "pipe:",  # where nothing is written by this format
        format="null",
        fps_mode="passthrough",
        enc_time_base="demux",
        **{"stats_enc_pre:v": str(frame_log), "stats_enc_pre_fmt:v": FRAME_FORMAT},
    )
    more = [packet_output(stream, packet_log)] if count_packets else []
    _, lines = attempt(output, *more, name=name, n_frames=n_frames)
    packets = read_packet_log(packet_log) if count_packets else None
    trouble = [line for line in lines if TROUBLE.search(line)]
    return Decoded(read_frame_log(frame_log), packets, trouble)
