"""Multiplexing, gains and references of Neuropixels probes."""

import numpy as np
import probeinterface
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_recordings import np1_meta

from sluice.errors import InputError
from sluice.io import neuropixels

CHANNEL = np.arange(384)
# IBL's and imec's description: neighbouring even and odd channels go to two ADCs, which convert
# 12 (Neuropixels 1.0) or 16 (2.0) channels each, one after the other.
NP1_ADC, NP1_SLOT = 2 * (CHANNEL // 24) + CHANNEL % 2, CHANNEL % 24 // 2
NP2_ADC, NP2_SLOT = 2 * (CHANNEL // 32) + CHANNEL % 2, CHANNEL % 32 // 2


def test_allens_groups_on_all_channels_of_neuropixels_1():
    groups = neuropixels.median_groups(NP1_ADC, NP1_SLOT, split_adcs=True)
    assert np.array_equal(groups, CHANNEL % 24)


def test_groups_of_neuropixels_2_are_its_slots():
    groups = neuropixels.median_groups(NP2_ADC, NP2_SLOT)
    assert np.array_equal(groups, CHANNEL % 32 // 2)
    assert np.all(np.bincount(groups) == 24)


@pytest.mark.parametrize(
    ("n_channels", "n_groups"),
    # 24 groups of 8 need 192 channels; with one fewer a group has 7
    [(384, 24), (192, 24), (191, 1), (48, 1), (1, 1)],
)
def test_few_channels_are_one_group(n_channels, n_groups):
    groups = neuropixels.median_groups(
        NP1_ADC[:n_channels], NP1_SLOT[:n_channels], split_adcs=True, minimum_channels=8
    )
    assert np.unique(groups).size == n_groups


def test_unknown_multiplexing_is_one_group():
    assert np.array_equal(neuropixels.median_groups(np.zeros(4), np.zeros(4)), np.zeros(4))


def test_no_channels():
    assert neuropixels.median_groups(np.empty(0, int), np.empty(0, int)).size == 0


@settings(derandomize=True, max_examples=50)
@given(st.lists(st.integers(0, 383), min_size=1, unique=True), st.integers(1, 16), st.booleans())
def test_groups_are_numbered_without_gaps_and_never_too_small(channels, minimum, split):
    adc, slot = NP1_ADC[channels], NP1_SLOT[channels]
    groups = neuropixels.median_groups(adc, slot, split_adcs=split, minimum_channels=minimum)
    sizes = np.bincount(groups)
    assert sizes.sum() == len(channels)
    assert sizes.size == 1 or sizes.min() >= minimum
    if sizes.size > 1:
        # channels of one group are digitised at one moment
        assert all(np.unique(slot[groups == g]).size == 1 for g in range(sizes.size))


def test_sample_shifts_of_both_generations():
    np1 = neuropixels.sample_shifts(NP1_SLOT, 12, ap_rate_hz=30000, lf_rate_hz=2500)
    np2 = neuropixels.sample_shifts(NP2_SLOT, 16, ap_rate_hz=30000, lf_rate_hz=0)
    # ibl-neuropixel: 13 cycles for 12 channels, 16 for 16; the first eight channels
    assert np.allclose(np1[:8] * 13, [0, 0, 1, 1, 2, 2, 3, 3])
    assert np.isclose(np1.max(), 11 / 13)
    assert np.allclose(np2[:8] * 16, [0, 0, 1, 1, 2, 2, 3, 3])
    assert np.isclose(np2.max(), 15 / 16)


def test_sample_shifts_are_spikeinterfaces():
    from spikeinterface.extractors.neuropixels_utils import (
        get_neuropixels_sample_shifts_from_probe,
    )

    for n_slots, slot, lf_rate_hz in ((12, NP1_SLOT, 2500.0), (16, NP2_SLOT, 0.0)):
        probe = probeinterface.generate_linear_probe(384)
        probe.annotate(
            num_channels_per_adc=n_slots,
            ap_sample_frequency_hz=30000.0,
            lf_sample_frequency_hz=lf_rate_hz,
        )
        probe.annotate_contacts(adc_sample_order=slot)
        expected = get_neuropixels_sample_shifts_from_probe(probe)
        found = neuropixels.sample_shifts(slot, n_slots, ap_rate_hz=30000, lf_rate_hz=lf_rate_hz)
        assert np.array_equal(found, expected)


def test_mux_table_with_unused_places():
    adc, slot, n_adcs, n_slots = neuropixels.parse_mux_table("(2,3)(4 1)(0 2)(3 9)", 5)
    assert (n_adcs, n_slots) == (2, 3)
    assert adc.tolist() == [0, 1, 1, 0, 0]
    assert slot.tolist() == [1, 0, 1, 2, 0]


def plain(meta):
    return {key.lstrip("~"): value for key, value in meta.items()}


def test_probe_of_a_meta():
    meta = plain(np1_meta(bank=1))
    probe = neuropixels.read_probe(meta, "x.meta")
    # bank 1 begins at electrode 384, which is row 192
    assert probe.contact_positions[:4].tolist() == [[16, 3840], [48, 3840], [0, 3860], [32, 3860]]
    group, shift = neuropixels.multiplexing(probe, CHANNEL)
    assert np.array_equal(group, CHANNEL % 24)
    assert np.allclose(shift, NP1_SLOT / 13)


def test_the_files_own_mux_table_goes_before_the_catalogue():
    # two ADCs instead of 32: channels 0 to 191 on the first, 192 to 383 on the second
    table = "(2,192)" + "".join(f"({c} {c + 192})" for c in range(192))
    probe = neuropixels.read_probe(plain(np1_meta(muxTbl=table)), "x.meta")
    group, shift = neuropixels.multiplexing(probe, CHANNEL)
    # 192 slots of two channels are too small for a median
    assert np.array_equal(group, np.zeros(384))
    # 192 AP conversions and 192/12 for the LF band
    assert np.allclose(shift, CHANNEL % 192 / 208)


def test_unreadable_part_number_is_told_from_the_imro_table():
    meta = plain(np1_meta(imDatPrb_pn="????????"))
    assert neuropixels.part_number(meta, "x.meta") == "NP1000"


def test_unknown_probe():
    meta = plain(np1_meta(imDatPrb_pn="XY9", imroTbl="(4711,384)(0 0 0)"))
    with pytest.raises(InputError, match=r"x\.meta: unknown probe: part number XY9.*4711"):
        neuropixels.read_probe(meta, "x.meta")


def test_imro_table_that_does_not_fit():
    meta = plain(np1_meta()) | {"imroTbl": "(0,384)(0 7 0 500 250 1)"}
    with pytest.raises(InputError, match=r"x\.meta: imroTbl does not fit a probe NP1000"):
        neuropixels.read_probe(meta, "x.meta")


def test_gains_are_those_of_each_channel():
    rows = "".join(
        f"({c} 0 0 {500 if c < 200 else 1000} {250 if c < 200 else 125} 1)" for c in CHANNEL
    )
    meta = plain(np1_meta()) | {"imroTbl": f"(0,384){rows}"}
    probe = neuropixels.read_probe(meta, "x.meta")
    ap = neuropixels.bit_uv(meta, probe, "ap", "x.meta")
    lf = neuropixels.bit_uv(meta, probe, "lf", "x.meta")
    # data sheet: 1.2 V in 10 bits
    assert np.allclose(ap, np.where(CHANNEL < 200, 1.2e6 / 1024 / 500, 1.2e6 / 1024 / 1000))
    assert np.allclose(lf, np.where(CHANNEL < 200, 1.2e6 / 1024 / 250, 1.2e6 / 1024 / 125))


def test_full_scale_without_max_int_is_the_converters():
    meta = plain(np1_meta())
    del meta["imMaxInt"]
    probe = neuropixels.read_probe(meta, "x.meta")
    assert np.allclose(neuropixels.bit_uv(meta, probe, "ap", "x.meta"), 2.34375)


def test_references_of_the_map_and_of_the_catalogue():
    meta = plain(np1_meta(8))
    probe = neuropixels.read_probe(meta, "x.meta")
    # no map: the data sheet's channel 191
    assert neuropixels.references(meta, probe).tolist() == [191]
    # one entry per saved channel; the saved channels are 100 to 107
    entries = "".join(f"(0:0:{c}:{int(c not in (2, 5))})" for c in range(8))
    meta |= {"snsShankMap": f"(1,2,480){entries}", "snsSaveChanSubset": "100:107,768"}
    assert neuropixels.references(meta, probe).tolist() == [102, 105]


@pytest.mark.parametrize(
    ("number", "expected"), [("NP1000", [191]), ("NP2000", [127]), ("NP2013", []), ("?", [])]
)
def test_references_by_part_number(number, expected):
    assert neuropixels.catalogue_references(number).tolist() == expected


def test_references_of_phase_3a():
    found = neuropixels.catalogue_references("NP1010", is_phase_3a=True)
    assert found.tolist() == [36, 75, 112, 151, 188, 227, 264, 303, 340, 379]
