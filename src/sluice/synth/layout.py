"""Probe types the generator can write: where their contacts are and how they are digitised.

The numbers are imec's (Neuropixels 1.0 and 2.0 data sheets; SpikeGLX's `~muxTbl` and
`imroTbl` in real `.meta` files). They stand here a second time, apart from the libraries
that the workflow reads files with, so that an error there cannot hide itself.
"""

from dataclasses import dataclass

import numpy as np

from sluice.errors import UserError

N_ACQUIRED = 384


@dataclass(frozen=True)
class ProbeType:
    """Constants of one kind of probe.

    Attributes
    ----------
    part_number : str
        imec's part number, `imDatPrb_pn`.
    number : int
        SpikeGLX's number of the type, `imDatPrb_type`.
    n_shanks : int
    shank_pitch_um, column_pitch_um, row_pitch_um : float
        Distances between shanks, between the two columns, and between rows.
    even_row_um, odd_row_um : float
        From the left edge of the shank to the left contact of even and odd rows.
    range_v : float
        The converter reads from ``-range_v`` to ``range_v``, before division by the gain.
    max_int : int
        Full scale in bits: values go from ``-max_int`` to ``max_int - 1``.
    ap_gain, lf_gain : int
        Amplifier gains; ``lf_gain`` 0 where the probe has no LF band, and its AP band
        then holds the local field potential too.
    slots_channels : int
        Two neighbouring columns of this many channels share a converter pair: channel c is
        digitised in slot ``(c % slots_channels) // 2``.
    cycles : int
        Conversions per sample; slot k is digitised ``k / cycles`` of a sample late.
    reference_channel : int
        Acquisition channel of the on-shank reference, which records no signal; -1 for none.
    """

    part_number: str
    number: int
    n_shanks: int
    shank_pitch_um: float
    column_pitch_um: float
    row_pitch_um: float
    even_row_um: float
    odd_row_um: float
    range_v: float
    max_int: int
    ap_gain: int
    lf_gain: int
    slots_channels: int
    cycles: int
    reference_channel: int

    @property
    def n_slots(self):
        """Number of moments within a sample at which channels are digitised."""
        return self.slots_channels // 2

    @property
    def ap_uv_per_bit(self):
        """Volts per bit of the AP band, in µV."""
        return self.range_v / self.max_int / self.ap_gain * 1e6

    @property
    def lf_uv_per_bit(self):
        """Volts per bit of the LF band, in µV."""
        return self.range_v / self.max_int / self.lf_gain * 1e6


PROBE_TYPES = {
    "NP1.0": ProbeType(
        "NP1000", 0, 1, 0.0, 32.0, 20.0, 27.0, 11.0, 0.6, 512, 500, 250, 24, 13, 191
    ),
    "NP2.4": ProbeType(
        "NP2013", 2013, 4, 250.0, 32.0, 15.0, 27.0, 27.0, 0.62, 2048, 100, 0, 32, 16, -1
    ),
}  # fmt: skip

# NP2.4: shank and first electrode of each block of 48 channels, as SpikeGLX's
# "horizontal stripe" selection of the bottom rows has them.
_STRIPE_SHANKS = (0, 1, 0, 1, 2, 3, 2, 3)
_STRIPE_ELECTRODES = (0, 0, 48, 48, 0, 0, 48, 48)


@dataclass(frozen=True)
class Layout:
    """The saved channels of one probe.

    Attributes
    ----------
    probe_type : ProbeType
    acquired : int array, shape (n_channels,)
        Number of each saved channel among the 384 acquired ones, ascending.
    shank : int array, shape (n_channels,)
    x_um, y_um : float array, shape (n_channels,)
        x from the lowest left contact (as probeinterface has it); y from the lowest row.
    slot : int array, shape (n_channels,)
        Channels of one slot are digitised at the same moment.
    delay : float array, shape (n_channels,)
        How late within the sample interval a channel is digitised, as a fraction of it.
    """

    probe_type: ProbeType
    acquired: np.ndarray
    shank: np.ndarray
    x_um: np.ndarray
    y_um: np.ndarray
    slot: np.ndarray
    delay: np.ndarray

    @property
    def n_channels(self):
        """Number of saved channels, the sync channel not counted."""
        return self.acquired.size


def electrodes(probe_type):
    """Shank and electrode of each of the 384 acquired channels.

    Parameters
    ----------
    probe_type : ProbeType

    Returns
    -------
    shank, electrode : int arrays, shape (384,)
    """
    channel = np.arange(N_ACQUIRED)
    if probe_type.n_shanks == 1:
        return np.zeros(N_ACQUIRED, int), channel
    block = channel // 48
    return (
        np.asarray(_STRIPE_SHANKS)[block],
        np.asarray(_STRIPE_ELECTRODES)[block] + channel % 48,
    )


def make_layout(probe_type, n_channels):
    """Choose the saved channels and place them.

    One shank saves its lowest `n_channels` channels; several shanks save the same number of
    the lowest contacts each.

    Parameters
    ----------
    probe_type : str
        A key of `PROBE_TYPES`.
    n_channels : int
        16 to 384; a multiple of twice the number of shanks.

    Returns
    -------
    Layout

    Raises
    ------
    UserError
        The type is unknown or it cannot save that many channels.
    """
    if probe_type not in PROBE_TYPES:
        raise UserError(f"probe type {probe_type!r} is none of {', '.join(PROBE_TYPES)}")
    kind = PROBE_TYPES[probe_type]
    if not 16 <= n_channels <= N_ACQUIRED or n_channels % (2 * kind.n_shanks):
        raise UserError(
            f"{probe_type} cannot save {n_channels} channels: give a multiple of "
            f"{2 * kind.n_shanks} from 16 to {N_ACQUIRED}"
        )
    shank, electrode = electrodes(kind)
    acquired = np.flatnonzero(electrode < n_channels // kind.n_shanks)
    shank, electrode = shank[acquired], electrode[acquired]
    row, column = electrode // 2, electrode % 2
    # probeinterface puts x = 0 on the left contact of odd rows
    left_um = np.where(row % 2, 0.0, kind.even_row_um - kind.odd_row_um)
    slot = (acquired % kind.slots_channels) // 2
    return Layout(
        probe_type=kind,
        acquired=acquired,
        shank=shank,
        x_um=left_um + column * kind.column_pitch_um + shank * kind.shank_pitch_um,
        y_um=row * kind.row_pitch_um,
        slot=slot,
        delay=slot / kind.cycles,
    )
