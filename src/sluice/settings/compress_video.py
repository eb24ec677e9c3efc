"""Settings of the compression of behaviour videos."""

from typing import Literal

from pydantic import Field

from sluice.settings.base import Count, Fraction, Section, Threshold


class CompressVideoChecks(Section):
    """Where the checks of `compress_video` turn to WARNING and to FAIL."""

    video_lost_frames: Threshold = Field(
        Threshold(warning=0, fail=0),
        description="Frames that the source holds or counts but that cannot be decoded. Only with "
        "`allow_damage`; else they are an error.",
    )
    video_damaged_frames: Threshold = Field(
        Threshold(warning=0, fail=0),
        description="Frames that are decoded with errors, so that part of the picture is made up. "
        "Only with `allow_damage`; else they are an error.",
    )
    video_reading_errors: Threshold = Field(
        Threshold(warning=0, fail=0),
        description="Errors that ffmpeg reports and of which the frames are not known, so that "
        "some may be missing or made up; 1 for a file that ends before its header says. Only with "
        "`allow_damage`; else they are an error.",
    )
    video_header_frame_difference: Threshold = Field(
        Threshold(warning=0, fail=1e9),
        description="Difference between the frames of the source and the number in its header "
        "(frames). A program that was stopped leaves 0 there, so that no difference is meant to "
        "FAIL.",
    )
    video_size_ratio: Threshold = Field(
        Threshold(warning=1.0, fail=0.2),
        description="Size of the source over that of the compressed video; less is worse.",
    )
    video_rate_difference: Threshold = Field(
        Threshold(warning=0.01, fail=1000),
        description="Difference between the frame rate of the table of streams and that by the "
        "source's own times, as a fraction of the former. The table is there to correct them, so "
        "that no difference is meant to FAIL.",
    )
    video_varying_interval_fraction: Threshold = Field(
        Threshold(warning=0.01, fail=1.0),
        description="Intervals of the source's own frame times that differ from their median, as a "
        "fraction. Times are kept, so that none is meant to FAIL.",
    )
    video_disordered_time_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.01),
        description="Frames whose time in the source is not later than that of the frame before, "
        "as a fraction.",
    )


class CompressVideo(Section):
    """Compression of the videos to H.264 in MP4, without losing a frame."""

    crf: int = Field(
        29,
        ge=0,
        le=51,
        description="Quality: constant rate factor of x264, 0 (lossless) to 51 (worst); 6 more "
        "halve the size, roughly. IBL: 29 for training, 17 beside probes.",
    )
    preset: Literal[
        "ultrafast",
        "superfast",
        "veryfast",
        "faster",
        "fast",
        "medium",
        "slow",
        "slower",
        "veryslow",
    ] = Field("slow", description="How long x264 looks for a smaller file.")
    keyframe_interval: Count = Field(
        250, description="At most so many frames from one that is stored whole to the next."
    )
    pixel_format: Literal["yuv420p", "yuv444p"] = Field(
        "yuv420p",
        description="How colour is stored: in every other row and column, which every player "
        "shows, or in all.",
    )
    levels: Literal["source", "full", "limited"] = Field(
        "source",
        description="Grey levels of the file. full: 0 to 255, and marked so; limited: 16 to 235, "
        "also for players that ignore the mark. source: as the source has them, which loses least; "
        "grey, RGB and most cameras' MJPEG are full. From full to limited and back, levels change "
        "by 2 at most.",
    )
    white_level: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Grey level of the source that becomes white (255), in videos of more than 8 "
        "bits; what is brighter is white too. null: the full range of 9- to 14-bit formats; of "
        "16-bit ones, the full range of the fewest bits (8, 10, 12, 14 or 16) that hold every "
        "pixel, for which the video is read once more.",
    )
    audio: Literal["keep", "drop"] = Field(
        "keep",
        description="keep: sound is copied where MP4 can hold it; PCM is stored as FLAC, which "
        "loses nothing of up to 24 bits, ultrasound included; all else as AAC.",
    )
    hardware: bool = Field(
        False,
        description="Encode on the GPU (NVENC) where the job has one: faster, but larger files "
        "of less quality. GPUs for computing alone (A100, H100, H200) cannot.",
    )
    hardware_preset: Literal["p1", "p2", "p3", "p4", "p5", "p6", "p7"] = Field(
        "p6", description="Preset of NVENC, p7 being the slowest and best. `crf` is its `cq`."
    )
    encoder_threads: Count = Field(
        4,
        description="Threads of x264. Its pixels change a little with their number, which is "
        "therefore not that of the job: the same video comes out on every machine.",
    )
    allow_damage: bool = Field(
        False,
        description="Accept a video that is cut short or damaged, and keep every frame that can "
        "be decoded; checks then say what is missing.",
    )
    max_interval_difference: Fraction = Field(
        0.1,
        description="Frames are equally spaced if no interval of their times differs from the "
        "median by more than this fraction of it and one tick of the file's clock.",
    )
    checks: CompressVideoChecks = CompressVideoChecks()
