"""Neuropixels probes: contacts, gains, references and multiplexing, as the files state them.

Geometry and the catalogue of probes are probeinterface's (imec's ProbeTable). What a
recording says of itself goes first: its ``imroTbl`` for contacts and gains, its ``muxTbl``
for the multiplexing, the used-flags of its ``snsGeomMap`` or ``snsShankMap`` for references.
"""

import json
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.io import spikeglx

# Multiplexing of the Neuropixels 1.0 front end: 32 ADCs of 12 channels each.
NP1_ADCS = (32, 12)
# The ten reference contacts of a phase 3A probe, option 3 (Allen ecephys_spike_sorting,
# depth_estimation). imec's ProbeTable begins with phase 3B.
PHASE_3A_REFERENCES = (36, 75, 112, 151, 188, 227, 264, 303, 340, 379)


def median_groups(adc, slot, *, split_adcs=False, minimum_channels=8):
    """Group the channels of a probe that are digitised together.

    Channels that are converted in the same slot of the ADCs' cycle carry the same
    electrical noise, so that the median over them removes it. On Neuropixels 1.0 Allen
    takes the channels g, g + 24, g + 48, … of the 384, 24 groups of 16
    (ecephys_spike_sorting, SpikeBandMedianSubtraction): same slot and, of the ADCs, either
    the even or the odd ones. On other probes a group is a slot of the probe's own
    multiplexing.

    Parameters
    ----------
    adc : int array, shape (n_channels,)
        Which ADC converts the channel.
    slot : int array, shape (n_channels,)
        When within the ADC's cycle it does, 0 first. Zeros where nothing is known: all
        channels are then one group.
    split_adcs : bool
        Even and odd ADCs apart, as on Neuropixels 1.0.
    minimum_channels : int
        A median over fewer channels than this follows a single spike. If any group would
        be smaller (few of the probe's channels were saved), all channels are one group.

    Returns
    -------
    int array, shape (n_channels,)
        Group of each channel, 0-based without gaps. On a complete Neuropixels 1.0 it is the
        channel number modulo 24.
    """
    key = 2 * np.asarray(slot) + np.asarray(adc) % 2 if split_adcs else np.asarray(slot)
    _, group, sizes = np.unique(key, return_inverse=True, return_counts=True)
    if sizes.size and sizes.min() < minimum_channels:
        return np.zeros_like(group)
    return group


def sample_shifts(slot, n_slots, *, ap_rate_hz, lf_rate_hz):
    """How late within the sample interval each channel is converted.

    An ADC's cycle has one conversion per AP channel, and where the probe has an LF band of
    1/12 the rate one more for the LF channels in turn: 13 on Neuropixels 1.0, 16 on 2.0
    (imec's ProbeTable, issue 3; as SpikeInterface has it).

    Parameters
    ----------
    slot : int array, shape (n_channels,)
    n_slots : int
        AP channels per ADC.
    ap_rate_hz, lf_rate_hz : float
        Nominal rates of the probe's bands; `lf_rate_hz` 0 where it has no LF band.

    Returns
    -------
    float array, shape (n_channels,)
        Fraction of the sample interval, 0 to below 1.
    """
    return np.asarray(slot) / round(n_slots * (1 + lf_rate_hz / ap_rate_hz))


def parse_mux_table(text, n_channels):
    """Read SpikeGLX's ``muxTbl``: which ADC converts a channel, and in which slot.

    Parameters
    ----------
    text : str
        ``(n_adcs,n_slots)(channels of slot 0)(channels of slot 1)…``, the channels of a slot
        in the order of their ADCs.
    n_channels : int
        Channels the probe acquires; larger numbers in the table fill unused places.

    Returns
    -------
    adc, slot : int arrays, shape (n_channels,)
    n_adcs, n_slots : int
    """
    header, *slots = spikeglx.table(text)
    n_adcs, n_slots = (int(n) for n in header.split(","))
    channels = np.array([line.split() for line in slots], dtype=int)
    slot_of, adc_of = np.indices(channels.shape)
    used = channels < n_channels
    adc, slot = np.zeros((2, n_channels), dtype=int)
    adc[channels[used]] = adc_of[used]
    slot[channels[used]] = slot_of[used]
    return adc, slot, n_adcs, n_slots


def multiplexing(probe, channels):
    """Median group and sample shift of some of a Neuropixels probe's channels.

    Parameters
    ----------
    probe : probeinterface.Probe
        With the annotations of probeinterface's readers.
    channels : int array, shape (n_channels,), or None
        Acquisition number (0 to 383, …) of each channel of the recording; None where it
        cannot be known.

    Returns
    -------
    median_group : int array, shape (n_channels,)
    sample_shift : float array, shape (n_channels,)
        Zeros, both, where nothing is known.
    """
    text = probe.annotations.get("adc_sampling_table")
    if channels is None or text is None:
        n_channels = probe.get_contact_count()
        return np.zeros(n_channels, dtype=int), np.zeros(n_channels)
    adc, slot, n_adcs, n_slots = parse_mux_table(text, probe.annotations["num_readout_channels"])
    group = median_groups(adc[channels], slot[channels], split_adcs=(n_adcs, n_slots) == NP1_ADCS)
    shift = sample_shifts(
        slot[channels],
        n_slots,
        ap_rate_hz=probe.annotations["ap_sample_frequency_hz"],
        lf_rate_hz=probe.annotations["lf_sample_frequency_hz"],
    )
    return group, shift


@cache
def catalogue():
    """Load imec's ProbeTable, which probeinterface brings along."""
    path = resources.files("probeinterface") / "resources" / "neuropixels_probe_features.json"
    return json.loads(path.read_text(encoding="utf-8"))


def part_number(meta, path):
    """Part number of a probe under which the catalogue has it.

    SpikeGLX writes question marks where it could not read the probe's memory; the type
    that stands at the head of the ``imroTbl`` then tells the kind of probe.

    Parameters
    ----------
    meta : dict
        See `sluice.io.spikeglx.read_meta`.
    path : Path
        Of the meta, for the message.

    Raises
    ------
    InputError
        The catalogue does not have the probe.
    """
    found = meta.get("imDatPrb_pn", "")
    if found in catalogue()["neuropixels_probes"]:
        return found
    kind = spikeglx.table(meta["imroTbl"])[0].split(",")[0]
    kind = "0" if "imProbeOpt" in meta else kind
    by_type = catalogue()["z_imro_format_type_to_part_number"]
    if kind not in by_type:
        raise InputError(
            f"{path}: unknown probe: part number {found or '(none)'} (imDatPrb_pn), "
            f"imroTbl of type {kind}. Expected one of imec's Neuropixels. A newer version of "
            "probeinterface may know it; else give it as a flat binary with its geometry."
        )
    return by_type[kind]


def read_probe(meta, path):
    """Build the probe of a SpikeGLX recording, with all the channels it acquires.

    Parameters
    ----------
    meta : dict
        See `sluice.io.spikeglx.read_meta`.
    path : Path
        Of the meta, for messages.

    Returns
    -------
    probeinterface.Probe
        Contact i is acquisition channel i. y is 0 at the lowest row of the probe.

    Raises
    ------
    InputError
        The probe is unknown, or its ``imroTbl`` cannot be read.
    """
    import probeinterface

    # Written again for probeinterface, which would fail on a code page other than UTF-8 and
    # on LF metas, and would mistake the channels of a shank split off by ibl-neuropixel.
    lines = {
        "imDatPrb_pn": part_number(meta, path),
        "imroTbl": meta["imroTbl"],
        "snsSaveChanSubset": "0:99999",
    }
    if "imProbeOpt" in meta:
        lines["imProbeOpt"] = meta["imProbeOpt"]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "probe.meta"
        copy.write_text("".join(f"{k}={v}\n" for k, v in lines.items()), encoding="utf-8")
        try:
            probe = probeinterface.read_spikeglx(copy)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(
                f"{path}: imroTbl does not fit a probe {lines['imDatPrb_pn']} ({error!r}). "
                "Copy the .meta again from the acquisition computer."
            ) from error
    if "muxTbl" in meta:
        probe.annotate(adc_sampling_table=meta["muxTbl"])
    return probe


def max_int(meta, probe):
    """Full scale of the file in bits; without ``imMaxInt`` half the range of the converter."""
    return int(meta.get("imMaxInt", 2 ** (probe.annotations["adc_bit_depth"] - 1)))


def bit_uv(meta, probe, band, path):
    """µV per bit of each acquisition channel.

    ``imAiRangeMax / max_int / gain`` (SpikeGLX's metadata guide). The gain stands in the
    ``imroTbl``, in ``imChan0apGain``, or is the probe's only one.

    Parameters
    ----------
    meta : dict
    probe : probeinterface.Probe
        See `read_probe`.
    band : str
        ``ap`` or ``lf``. An LF band made from the AP band of a probe that has none of its
        own (CatGT, ibl-neuropixel) keeps the AP gain.
    path : Path
        Of the meta, for the message.

    Returns
    -------
    float array, shape (n_acquired,)

    Raises
    ------
    InputError
        The file does not say the gain.
    """
    if band == "lf" and probe.annotations["lf_sample_frequency_hz"] == 0:
        band = "ap"
    gains = probe.contact_annotations.get(f"{band}_gains")
    if gains is None:
        gains = float(meta.get(f"imChan0{band}Gain", probe.annotations.get(f"{band}_gain", 0)))
    gains = np.broadcast_to(np.asarray(gains, dtype=float), probe.get_contact_count())
    if not np.all(gains > 0):
        raise InputError(
            f"{path}: no gain of the {band.upper()} band; expected it in imroTbl or as "
            f"imChan0{band}Gain. Copy the .meta again from the acquisition computer."
        )
    return float(meta["imAiRangeMax"]) / max_int(meta, probe) / gains * 1e6


def references(meta, probe):
    """Acquisition channels that record no signal.

    The contacts whose used-flag in ``snsGeomMap`` or ``snsShankMap`` is 0: the internal
    references, and what was switched off by hand. A meta without such a map (those of LF
    bands have none) leaves the probe's internal reference of imec's ProbeTable.

    Parameters
    ----------
    meta : dict
        Of the AP band where there is one.
    probe : probeinterface.Probe

    Returns
    -------
    int array
    """
    maps = meta.get("snsGeomMap") or meta.get("snsShankMap")
    if not maps:
        return catalogue_references(
            probe.annotations["part_number"], is_phase_3a="imProbeOpt" in meta
        )
    used = np.array([entry.split(":")[3] == "1" for entry in spikeglx.table(maps)[1:]])
    n_neural, _ = spikeglx.counts(meta)
    if used.size == n_neural:
        # one entry per channel that was saved
        channels = np.array(spikeglx.saved_channels(meta)[:n_neural])
        return channels[~used]
    return np.flatnonzero(~used)


def catalogue_references(number, *, is_phase_3a=False):
    """Acquisition channel of a probe's internal reference, by imec's ProbeTable.

    Parameters
    ----------
    number : str
        Part number.
    is_phase_3a : bool
        Ten contacts, `PHASE_3A_REFERENCES`.

    Returns
    -------
    int array
        Empty for probes whose reference is no recording channel.
    """
    if is_phase_3a:
        return np.array(PHASE_3A_REFERENCES)
    probe = catalogue()["neuropixels_probes"].get(number, {})
    channel = int(probe.get("on_shank_ref_chan", -1))
    return np.array([channel] if channel >= 0 else [], dtype=int)
