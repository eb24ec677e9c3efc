"""Settings of the ophys steps that work on ROIs and their traces."""

from typing import Literal

from pydantic import Field, field_validator

from sluice.settings.base import Count, Fraction, Positive, Section, Threshold


class DemixChecks(Section):
    """Where the checks of `demix` turn to WARNING and to FAIL."""

    undefined_fraction: Threshold = Field(
        Threshold(warning=0.001, fail=0.1),
        description="Frames without a demixed value, as a fraction of the frames of all ROIs; "
        "missing frames are not counted.",
    )
    dark_fraction: Threshold = Field(
        Threshold(warning=0.01, fail=0.5),
        description="Frames in which a ROI that overlaps another has an intensity of 0 or less, "
        "as a fraction: demixing takes 0 for darkness. A positive offset of the detector is "
        "seen by `background_fraction` of `plane_qc`.",
    )
    negative_transient_fraction: Threshold = Field(
        Threshold(warning=0.1, fail=0.5),
        description="ROIs whose demixed trace falls far below its mean, as a fraction.",
    )
    negative_baseline_fraction: Threshold = Field(
        Threshold(warning=0.05, fail=0.5),
        description="ROIs whose demixed trace is mostly negative, as a fraction.",
    )
    empty_neuropil_fraction: Threshold = Field(
        Threshold(warning=0.05, fail=0.5),
        description="ROIs without a pixel of neuropil around them, as a fraction.",
    )
    crosstalk_fraction: Threshold = Field(
        Threshold(warning=0.2, fail=0.45),
        description="Light of the paired plane that leaks into this one, as a fraction; judged "
        "where it is removed.",
    )


class Demix(Section):
    """Fluorescence of ROIs and of the neuropil around them; overlapping ROIs separated."""

    binarize_quantile: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="A pixel belongs to a ROI if its weight is at least this quantile of the "
        "ROI's weights.",
    )
    neuropil_method: Literal["ring", "grown"] = Field(
        "ring",
        description="Neuropil around a ROI: a ring of fixed width (Allen), or grown until it "
        "has enough pixels (suite2p).",
    )
    ring_px: Count = Field(13, description="Width of the ring (px).")
    gap_px: int = Field(
        2, ge=0, description="Pixels left out around a ROI where neuropil is grown (px)."
    )
    min_neuropil_pixels: Count = Field(
        350, description="Where neuropil is grown, it grows until it has this many pixels."
    )
    max_shift_px: Positive = Field(
        30.0,
        description="Larger shifts do not widen the motion border: they are failures of "
        "registration (px).",
    )
    duplicate_overlap: Fraction = Field(
        0.9,
        description="Of two ROIs whose intersection over union exceeds this, the smaller one is "
        "a duplicate.",
    )
    union_fraction: float = Field(
        0.7,
        ge=0.5,
        le=1,
        description="A ROI is a union if others lie in it with more than this fraction of their "
        "pixels and together cover more than this fraction of it.",
    )
    transient_window_frames: Count = Field(
        500, description="Frames that a negative transient is compared with."
    )
    transient_length_frames: Count = Field(
        10, description="Frames in a row that make a negative transient."
    )
    transient_std: Positive = Field(
        3.0, description="Standard deviations below the mean that make a negative transient."
    )
    crosstalk: Literal["none", "unmix"] = Field(
        "none",
        description="`unmix`: light of the plane that streams.tsv names in paired_with is "
        "measured and taken out of every pixel.",
    )
    max_crosstalk: float = Field(
        0.5, gt=0, lt=1, description="Largest crosstalk that is tried, as a fraction."
    )
    crosstalk_event_std: Positive = Field(
        5.0,
        description="Crosstalk is measured in frames in which the leaking plane has risen by "
        "more than this many standard deviations of the noise of its steps.",
    )
    min_crosstalk_frames: Count = Field(
        50, description="Crosstalk is not removed if fewer such frames, over all ROIs, show it."
    )
    crosstalk_step_s: Positive = Field(
        0.1, description="A step is the change over this time, about the indicator's rise (s)."
    )
    checks: DemixChecks = DemixChecks()


class NeuropilChecks(Section):
    """Where the checks of `neuropil` turn to WARNING and to FAIL."""

    neuropil_undefined_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.5),
        description="ROIs for which no r can be found, as a fraction.",
    )
    neuropil_replaced_fraction: Threshold = Field(
        Threshold(warning=0.2, fail=0.6),
        description="ROIs whose r came out too high and was replaced, as a fraction.",
    )
    neuropil_r_median: Threshold = Field(
        Threshold(warning=0.1, fail=0.01), description="r, median of the ROIs; less is worse."
    )
    neuropil_negative_fraction: Threshold = Field(
        Threshold(warning=0.05, fail=0.5),
        description="ROIs whose corrected trace is below 0 in most frames, as a fraction.",
    )


class Neuropil(Section):
    """Contamination by neuropil, estimated for each ROI and subtracted."""

    method: Literal["allen", "mutual_information", "fixed"] = Field(
        "allen",
        description="How the share r of the neuropil in a ROI is found: the r that predicts "
        "the ROI best from a smooth trace and the neuropil, over four folds (Allen); the r "
        "that leaves the least mutual information with the neuropil (AIND); or one r for all.",
    )
    fixed_r: float = Field(
        0.7, ge=0, le=2, description="r of all ROIs where the method is fixed (suite2p: 0.7)."
    )
    smoothness: Positive = Field(
        0.05, description="Weight of the squared steps of the corrected trace (Allen's lambda)."
    )
    max_r: float = Field(
        10.0,
        ge=2,
        description="The search for r goes no further than about this (Allen's method).",
    )
    checks: NeuropilChecks = NeuropilChecks()


class DffChecks(Section):
    """Where the checks of `dff` turn to WARNING and to FAIL."""

    dff_undefined_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.5), description="ROIs without any dF/F, as a fraction."
    )
    dff_small_baseline_fraction: Threshold = Field(
        Threshold(warning=0.05, fail=0.5),
        description="ROIs whose baseline is within the noise in more than a tenth of the "
        "frames, as a fraction; their dF/F is too small.",
    )
    dff_noise_median: Threshold = Field(
        Threshold(warning=0.3, fail=1.0), description="Noise of dF/F, median of the ROIs."
    )


class Dff(Section):
    """Fluorescence relative to its baseline."""

    method: Literal["window_median", "inactive_median", "maximin"] = Field(
        "window_median",
        description="How the baseline is found: median of a window (AllenSDK, 180 s); median "
        "of a window without the frames of activity (ophys_etl, 600 s), for cells that are "
        "active half of the time or more; or the highest of the lowest values (suite2p, 60 s).",
    )
    window_s: Positive | None = Field(
        None, description="Window of the baseline (s); null: that of the method."
    )
    padding: Literal["reflect", "nearest", "constant"] = Field(
        "reflect",
        description="How a trace goes on beyond its ends: mirrored, its last value, or zeros "
        "as in the AllenSDK, which lowers the baseline near both ends.",
    )
    noise_window_s: Positive = Field(
        3.333, description="Window of the median taken away before the noise is measured (s)."
    )
    detrend: bool = Field(
        False,
        description="Whether slow drifts of dF/F are taken away by the median of a short window, "
        "as the AllenSDK does. Off, as in ophys_etl: it makes transients about a tenth "
        "smaller, more in noise, and `events` does it for itself; where it is on, turn "
        "`events.detrend` off.",
    )
    detrend_window_s: Positive = Field(3.333, description="The short window (s).")
    detrend_max_noise: Positive = Field(
        2.5, description="At most this many times the noise is taken away."
    )
    inactive_percentile: float = Field(
        10.0, ge=0, le=100, description="Percentile of the window that stands for no activity."
    )
    inactive_noise: Positive = Field(
        3.0,
        description="Frames more than this many times the noise above it are of activity.",
    )
    smooth_samples: Positive = Field(
        10.0,
        description="Standard deviation of the Gaussian before maximin (frames, as in suite2p).",
    )
    checks: DffChecks = DffChecks()


class EventsChecks(Section):
    """Where the checks of `events` turn to WARNING and to FAIL."""

    events_undefined_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.5), description="ROIs without any dF/F, as a fraction."
    )
    events_silent_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.9), description="ROIs without any event, as a fraction."
    )
    events_rate_hz: Threshold = Field(
        Threshold(warning=3.0, fail=10.0),
        description="Events of a ROI a second, median of the ROIs.",
    )


class Events(Section):
    """Calcium events from dF/F."""

    method: Literal["l0", "oasis"] = Field(
        "l0",
        description="l0: as few events as explain the trace, all of them larger than the noise "
        "(Allen). oasis: non-negative deconvolution, which also gives many small events "
        "(suite2p, AIND).",
    )
    decay_s: Positive | None = Field(
        None,
        description="Time constant of the indicator's decay (s); null: that of the plane.",
    )
    noise_window_s: Positive = Field(
        1.0, description="Window of the median taken away before the noise is measured (s)."
    )
    detrend: bool = Field(
        True,
        description="Whether slow drifts are taken off dF/F before events are looked for, as "
        "ophys_etl does. Each time takes up to 2.5 times the noise off a response of some "
        "seconds: turn it off where `dff.detrend` is on.",
    )
    detrend_window_s: Positive = Field(
        3.2, description="Window of the median that slow drifts are found by (s)."
    )
    detrend_max_noise: Positive = Field(
        2.5, description="At most this many times the noise is taken away as drift."
    )
    min_event_noise: Positive | None = Field(
        None,
        description="Smallest event in multiples of the noise (l0); null: by the frame rate, "
        "2.6 up to 11 Hz, 2.0 from 31 Hz, on a straight line between.",
    )
    min_penalty: Positive = Field(
        1e-4, description="Smallest penalty of an event that is tried (l0)."
    )
    penalty_tolerance: float = Field(
        0.05,
        gt=0,
        le=1,
        description="The smallest penalty that leaves no small event is found to this "
        "fraction of itself (l0).",
    )
    allow_drops: bool = Field(
        False, description="Let calcium also drop faster than it decays (l0)."
    )
    oasis_penalty: float = Field(
        0.0, ge=0, description="Penalty on the sum of the events (oasis); 0: none, as suite2p."
    )
    oasis_min_event: float = Field(
        0.0,
        ge=0,
        description="Smallest event (oasis, dF/F). Above 0 the answer is no longer the exact "
        "minimum of a convex problem, as in OASIS itself.",
    )
    checks: EventsChecks = EventsChecks()


class LabelRoisChecks(Section):
    """Where the checks of `label_rois` turn to WARNING and to FAIL."""

    n_valid_somata: Threshold = Field(
        Threshold(warning=10, fail=1), description="Valid ROIs that are somata; less is worse."
    )
    valid_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.1),
        description="ROIs without any label, as a fraction; less is worse.",
    )
    soma_fraction: Threshold = Field(
        Threshold(warning=0.2, fail=0.02),
        description="ROIs that are somata, as a fraction; less is worse.",
    )
    motion_border_fraction: Threshold = Field(
        Threshold(warning=0.3, fail=0.8),
        description="ROIs that motion took partly out of view, as a fraction.",
    )


class LabelRois(Section):
    """Somata, and ROIs to exclude from analysis; none is deleted."""

    soma_probability: Fraction = Field(
        0.5, description="A ROI with at least this probability of being a soma is one."
    )
    min_pixels: Count = Field(
        50,
        description="A ROI of fewer pixels is small (px; Allen's, at about 0.78 µm a pixel).",
    )
    max_low_axis_ratio: Fraction = Field(
        0.2, description="A ROI whose minor over major axis is at most this is too long."
    )
    checks: LabelRoisChecks = LabelRoisChecks()


class MatchCellsChecks(Section):
    """Where the checks of `match_cells` turn to WARNING and to FAIL."""

    unaligned_pair_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.5),
        description="Pairs of sessions whose images do not fit better than by chance, as a "
        "fraction of all pairs; no cells are matched between them.",
    )
    image_ssim: Threshold = Field(
        Threshold(warning=0.2, fail=0.05),
        description="Similarity (SSIM) of two sessions' images after alignment, that of the "
        "worst aligned pair; less is worse.",
    )
    overlap: Threshold = Field(
        Threshold(warning=0.7, fail=0.5),
        description="Part of the image that two sessions share, that of the worst aligned "
        "pair; less is worse.",
    )
    matched_fraction: Threshold = Field(
        Threshold(warning=0.3, fail=0.05),
        description="ROIs with a partner, as a fraction of the ROIs of the session that has "
        "fewer in the shared part, that of the worst aligned pair; less is worse.",
    )
    residual_distance_px: Threshold = Field(
        Threshold(warning=3.0, fail=6.0),
        description="Distance between the centroids of matched ROIs, median of a pair of "
        "sessions, that of the worst pair (px).",
    )
    pair_agreement: Threshold = Field(
        Threshold(warning=0.8, fail=0.5),
        description="Pairs of ROIs within a cell that were also matched directly, as a "
        "fraction; says little with two sessions. Less is worse.",
    )


class MatchCells(Section):
    """The same cells over the sessions of a container."""

    only: Literal["valid", "all"] = Field(
        "valid",
        description="`valid`: only ROIs without a label that excludes them are matched; "
        "`all`: every ROI.",
    )
    max_distance_px: Positive = Field(
        10.0,
        description="ROIs whose centroids lie further apart after alignment are not the same "
        "cell (px); also the distance that costs as much as no overlap at all.",
    )
    min_iou: Fraction = Field(
        0.1,
        description="ROIs whose masks overlap by less (pixels in both over pixels in either) are "
        "not the same cell but neighbours. Allen: 0, distance alone decides.",
    )
    border_fraction: float = Field(
        0.08,
        ge=0,
        le=0.25,
        description="Part of height and of width at each edge of the images that is not compared "
        "(Allen: 40 px of 512).",
    )
    clahe_tile_px: Positive = Field(
        18.0,
        description="Size of the tiles within which contrast is made equal (px). Allen: 24 by 24 "
        "tiles of an image of 432 px.",
    )
    clahe_clip: Positive = Field(
        2.5, description="Limit of the contrast: highest bar of a tile's histogram, in means."
    )
    ecc_iterations: Count = Field(
        1000, description="Most iterations of the enhanced correlation coefficient (ECC)."
    )
    ecc_tolerance: Positive = Field(
        1.5e-7, description="ECC ends when its coefficient changes by less."
    )
    ecc_blur_px: int = Field(
        5,
        ge=1,
        le=51,
        description="Size of the gaussian window that smooths the images for ECC (px); odd.",
    )
    max_rotation_deg: float = Field(
        10.0,
        ge=0,
        le=45,
        description="Rotations up to this angle are tried; a transform that turns further is "
        "not used (degrees).",
    )
    rotation_step_deg: Positive = Field(
        0.5, description="From one angle that is tried to the next (degrees)."
    )
    ssim_sigma_px: Positive = Field(
        20.0, description="Window of the similarity (px, standard deviation of a gaussian)."
    )
    min_overlap: Fraction = Field(
        0.5,
        description="A transform that leaves less of the smaller image in common is not used.",
    )
    min_score: Positive = Field(
        5.0,
        description="Sessions are aligned if the similarity of their images lies this many "
        "standard deviations above that where they cannot fit: shifted, mirrored, turned. "
        "Different tissue rarely reaches 5 where 30 cells are seen; the same tissue gives 6 to "
        "12 there, and 40 with 400 cells.",
    )
    checks: MatchCellsChecks = MatchCellsChecks()

    @field_validator("ecc_blur_px")
    @classmethod
    def _odd(cls, value):
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value
