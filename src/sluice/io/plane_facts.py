"""What is known of an imaging plane, and where a person and the file's header differ on it."""

from dataclasses import dataclass, field
from pathlib import Path

from sluice.io.movie import Header

MAX_RATE_DIFFERENCE = 0.01
RATE = "the rate (frames of one plane a second)"


@dataclass(frozen=True)
class Difference:
    """What is used of the rate, the planes, the channels or the images, and what the header says.

    Attributes
    ----------
    what : str
    source : str
        Where a person said it, or ``the files' pages``.
    stated, of_file : float or int
        The first is used.
    path : str
        The file.
    """

    what: str
    source: str
    stated: float
    of_file: float
    path: str

    @property
    def is_rate(self):
        """Whether it is about the rate; else it is about a count."""
        return self.what == RATE

    @property
    def fraction(self):
        """How far the stated rate is from the header's, as a fraction of this."""
        return abs(self.stated / self.of_file - 1)

    @property
    def is_difference(self):
        """Whether they differ by more than rounding."""
        if self.is_rate:
            return self.fraction > MAX_RATE_DIFFERENCE
        return self.stated != self.of_file

    def __str__(self):
        return (
            f"{self.what} is {self.stated:g} in {self.source}, which is used, and "
            f"{self.of_file:g} in the header of {self.path}"
        )


@dataclass
class Imaging:
    """What is known of one plane before any image is read.

    Attributes
    ----------
    files : list of Path
        Of the movie, in order.
    header : Header or None
        Of the first file.
    n_planes, n_channels, channel : int
        Interleaved planes and channels, and the channel to read, counted from 0.
    flyback_planes : tuple of int
    sampling_rate_hz : float or None
        None where only a clock says it.
    um_per_pixel : tuple of float or None
        Along y and x.
    indicator : str
    decay_s : float or None
    dataset : str
    frame_times, z_stack : Path or None
    z_step_um, depth_um : float or None
    paired_planes : list of list of int
    others : list of Path
        Files beside the movie that it is read with: ``imaging.json`` and the clock.
    differences : list of Difference
        What is said by a person and by the header, alike or not.
    problems : list of str
        Why it cannot be read; empty if it can.
    """

    files: list = field(default_factory=list)
    header: Header | None = None
    n_planes: int = 1
    n_channels: int = 1
    channel: int = 0
    flyback_planes: tuple = ()
    sampling_rate_hz: float | None = None
    um_per_pixel: tuple | None = None
    indicator: str = ""
    decay_s: float | None = None
    dataset: str = ""
    frame_times: Path | None = None
    z_stack: Path | None = None
    z_step_um: float | None = None
    depth_um: float | None = None
    paired_planes: list = field(default_factory=list)
    others: list = field(default_factory=list)
    differences: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    def partner(self, plane):
        """Index of the plane recorded together with one; None if there is none."""
        pairs = [pair for pair in self.paired_planes if plane in pair]
        return next((a if b == plane else b for a, b in pairs), None)
