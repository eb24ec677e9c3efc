"""Settings of the ophys steps that work on movies."""

from typing import Any, Literal

from pydantic import Field

from sluice.settings.base import Count, Fraction, Positive, Section, Threshold


class ImportPlaneChecks(Section):
    """Where the checks of `import_plane` turn to WARNING and to FAIL."""

    n_frames: Threshold = Field(
        Threshold(warning=1000, fail=200),
        description="Frames of the movie; fewer are worse. suite2p warns below 200; the drift of "
        "the intensity is measured between frames 300 to 500 of either end.",
    )
    missing_frame_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.01),
        description="Blank frames and frames that cannot be read, as a fraction.",
    )
    clock_frame_difference: Threshold = Field(
        Threshold(warning=0, fail=5),
        description="Difference between the times of the frame clock and the frames, or the "
        "images where it has one time for each.",
    )
    clock_rate_difference: Threshold = Field(
        Threshold(warning=0.01, fail=0.05),
        description="Difference between the rate by the frame clock and the stated one, as a "
        "fraction of it.",
    )
    clock_gap_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.001),
        description="Intervals of the frame clock longer than 1.5 of the median, as a fraction.",
    )
    rate_header_difference: Threshold = Field(
        Threshold(warning=0.01, fail=1000),
        description="Difference between the rate given in the table of streams or imaging.json, "
        "which is used, and that of the file's header, as a fraction of the latter. The header "
        "may be wrong, so that no difference is meant to FAIL.",
    )
    layout_header_differences: Threshold = Field(
        Threshold(warning=0, fail=2),
        description="How many of `n_planes`, `n_channels` and the number of images are given "
        "otherwise in the table of streams or imaging.json, or found otherwise, than in the file's "
        "header.",
    )
    saturated_pixels: Threshold = Field(
        Threshold(warning=800, fail=1000),
        description="Pixels that are saturated at least once within `saturation_frames` (pixels).",
    )
    conversion_error: Threshold = Field(
        Threshold(warning=0.01, fail=0.1),
        description="Largest error of the stored int16 values, as a fraction of the standard "
        "deviation within a frame; 0 where they are lossless.",
    )


class ImportPlane(Section):
    """Reading of a movie: frames, clock, saturation, missing frames."""

    drop_incomplete_volume: bool = Field(
        False,
        description="Leave out the images behind the last whole volume, as a recording that was "
        "stopped has them. Otherwise they are an error, since a plane may be missing.",
    )
    max_clock_difference: int = Field(
        15,
        ge=0,
        description="Up to this difference between the times of the frame clock and the frames, "
        "or the images where it has one time for each, surplus times at the end are dropped. "
        "Missing ones fill the gaps of the clock where these stand for exactly as many, and are "
        "added at the end at the median interval where there is no gap. Otherwise the clock is "
        "not that of the movie, which is an error. Allen trims up to 15 edges that a camera gives "
        "after its last saved frame.",
    )
    dark_level: float = Field(
        0.0,
        description="What the detector records in darkness, in raw units; subtracted from all "
        "intensities after this step. dF/F and demixing need 0 to be darkness: "
        "`background_fraction` of `plane_qc` says how far off it is.",
    )
    saturation_level: float | None = Field(
        None,
        description="Raw intensity from which a pixel is saturated. By default the largest value "
        "of the movie, if `min_saturated_pixels` have it or it is the largest of the data type.",
    )
    min_saturated_pixels: Count = Field(
        100,
        description="So many pixels, counted over all frames, must share the largest value before "
        "it is taken for the end of the range of the digitiser. Noise reaches its largest value a "
        "few times.",
    )
    saturation_frames: Count = Field(
        500,
        description="Frames at the start of the movie in which saturated pixels are counted "
        "(AIND: 500).",
    )
    checks: ImportPlaneChecks = ImportPlaneChecks()


class RegisterPlaneChecks(Section):
    """Where the checks of `register_plane` turn to WARNING and to FAIL."""

    residual_motion_px: Threshold = Field(
        Threshold(warning=0.5, fail=1.5),
        description="Motion that is left: RMS distance of means over `residual_block_s` of the "
        "registered movie from its mean image (px).",
    )
    crispness_ratio: Threshold = Field(
        Threshold(warning=0.95, fail=0.8),
        description="Norm of the gradient of the mean image after registration over that before; "
        "less is worse. Where nothing moved it is 1.",
    )
    clipped_frame_fraction: Threshold = Field(
        Threshold(warning=0.01, fail=0.1),
        description="Frames whose shift was an outlier and was replaced, as a fraction.",
    )
    bad_frame_fraction: Threshold = Field(
        Threshold(warning=0.02, fail=0.2),
        description="Frames that are missing, show no picture or could not be registered, as a "
        "fraction.",
    )
    max_shift_ratio: Threshold = Field(
        Threshold(warning=0.6, fail=0.95),
        description="Rigid shift that 99 % of the frames stay below, over the largest that is "
        "searched for; near 1 the search is too small or the plane moved out of view. Shifts "
        "count as they were found, before outliers are replaced. Frames that are missing or show "
        "no picture (`min_correlation_ratio`) do not count; single frames that jump or are lost "
        "are counted by `clipped_frame_fraction` and `bad_frame_fraction`.",
    )


class RegisterPlane(Section):
    """Motion correction by suite2p, rigid and non-rigid."""

    nonrigid: bool = Field(
        True, description="Move blocks of the image on their own after the whole frame."
    )
    # plain types: the bounds of `Count` and `Fraction` would take the place of narrower ones
    block_size_px: int = Field(
        128,
        ge=32,
        description="Height and width of a block (px); blocks overlap by half. Halves of the "
        "image are used where a block is as large as the image; an image of less than 64 px is "
        "registered rigidly.",
    )
    max_shift_fraction: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="Largest rigid shift, as a fraction of the image's smaller dimension.",
    )
    max_nonrigid_px: Count = Field(
        5, description="Largest shift of a block on top of the rigid one (px)."
    )
    reference_frames: int = Field(
        400, ge=10, description="Frames, evenly spaced, that the reference image is made from."
    )
    smooth_sigma_px: Positive = Field(
        1.15, description="Gaussian smoothing of the reference in the phase correlation (px)."
    )
    taper_px: Positive = Field(
        3.45, description="Slope of the taper at the image's border in the phase correlation (px)."
    )
    clip_intensity: bool = Field(
        True,
        description="Clip frames to percentiles 1 and 99 of the reference before correlating, so "
        "that bright cells do not decide the shift.",
    )
    nonrigid_snr: Positive = Field(
        1.2,
        description="A block whose correlation peak is less than this times the next one uses "
        "the correlation smoothed over its neighbours.",
    )
    fix_bidirectional_phase: bool = Field(
        False,
        description="Estimate and undo the offset between odd and even lines of bidirectional "
        "scanning; off, as microscopes mostly correct it.",
    )
    outlier_fraction: Fraction = Field(
        0.05,
        description="A shift further than this fraction of the image from the running median is "
        "an outlier and takes the median's value (Allen).",
    )
    clear_peak: Positive = Field(
        8.0,
        description="An outlier stays where its correlation peak stands this many robust standard "
        "deviations above the other correlations: then the plane did move. Peaks of noise are "
        "below 7; a very large value replaces all outliers, as Allen does.",
    )
    outlier_window_s: Positive = Field(
        3.0, description="Length of the running median of the shifts (s)."
    )
    bad_frame_ratio: Positive = Field(
        1.0,
        description="A frame is bad if its deviation from the running median of shifts, over the "
        "mean deviation and over its relative correlation, exceeds 100 times this (suite2p), "
        "unless its correlation peak is clear (`clear_peak`).",
    )
    min_correlation_ratio: Fraction = Field(
        0.3,
        lt=1,
        description="A frame is also bad if its correlation with the reference is less than this "
        "times the running median of it: it does not show the plane, as behind a closed shutter. "
        "0 turns this off.",
    )
    max_projection_bin_s: Positive = Field(
        0.25,
        description="Frames are averaged over this long before the maximum projection (s).",
    )
    residual_block_s: Positive = Field(
        10.0,
        description="Length of the means that residual motion is measured on (s). Of a long movie "
        "50 are taken, evenly spread; a short one is cut into five.",
    )
    checks: RegisterPlaneChecks = RegisterPlaneChecks()


class SegmentPlaneChecks(Section):
    """Where the checks of `segment_plane` turn to WARNING and to FAIL."""

    rois_found: Threshold = Field(
        Threshold(warning=1, fail=0),
        description="ROIs that were found; less is worse. There cannot be less than 0, so by "
        "default the check only warns: a plane may have no cell.",
    )
    shared_pixel_fraction: Threshold = Field(
        Threshold(warning=0.3, fail=0.7),
        description="Pixels of ROIs that belong to more than one of them, as a fraction.",
    )


class SegmentPlane(Section):
    """Regions of interest, found by suite2p."""

    algorithm: Literal["sparsery", "sourcery", "cellpose"] = Field(
        "sparsery",
        description="sparsery and sourcery find ROIs by their activity, cellpose by their looks "
        "in the mean or maximum image; cellpose needs `cellpose_model`.",
    )
    threshold_scaling: Positive = Field(
        0.75,
        description="Larger finds fewer ROIs. suite2p uses 1; Allen 0.75, which finds more of the "
        "dim cells without false ones.",
    )
    spatial_scale: int = Field(
        0,
        ge=0,
        le=4,
        description="Size of ROIs that sparsery looks for: 1 is about 6 px, 2 12, 3 24, 4 48 px; "
        "0 estimates it from the movie.",
    )
    diameter_px: Positive = Field(
        12.0, description="Expected diameter of a cell (px), for shape statistics and cellpose."
    )
    bin_s: Positive | None = Field(
        None,
        description="Frames are averaged over this long before detection (s); by default over "
        "the indicator's decay time.",
    )
    max_bins: int = Field(
        5000,
        ge=100,
        description="Most averaged frames; a longer movie is averaged over longer.",
    )
    max_binned_gb: Positive = Field(
        1.5,
        description="Largest size of the averaged movie (GB), which limits the averaged frames of "
        "large fields: 1430 of 512 x 512 pixels. suite2p holds about six times that.",
    )
    denoise: bool = Field(False, description="Denoise the averaged movie by PCA of its blocks.")
    max_overlap: Fraction = Field(
        0.75, description="A ROI with more of its pixels than this in other ROIs is dropped."
    )
    cellpose_model: str | None = Field(
        None, description="File of cellpose weights on disk; nothing is ever downloaded."
    )
    cellpose_image: Literal["mean", "max"] = Field(
        "mean", description="The image that cellpose looks at."
    )
    neuropil_coefficient: Fraction = Field(
        0.7,
        description="Share of the neuropil subtracted before the skewness, which the classifier "
        "of somata reads; the traces themselves are corrected by `neuropil`.",
    )
    suite2p: dict[str, Any] = Field(
        {},
        description="Further parameters of suite2p that differ from its defaults, by their "
        "dotted names, e.g. `detection.highpass_time: 50` or `detection.soma_crop: false`. Those "
        "that nothing here reads, or that have a setting of their own, are refused.",
    )
    keep_suite2p_folder: bool = Field(
        False,
        description="Also write a folder that suite2p's GUI opens, with its own traces and "
        "spikes and the registered movie.",
    )
    checks: SegmentPlaneChecks = SegmentPlaneChecks()


class PlaneQcChecks(Section):
    """Where the checks of `plane_qc` turn to WARNING and to FAIL."""

    intensity_drift_percent: Threshold = Field(
        Threshold(warning=10.0, fail=20.0),
        description="Change of brightness from the start to the end of the movie, up or down (%).",
    )
    bleaching_percent: Threshold = Field(
        Threshold(warning=20.0, fail=40.0),
        description="Light lost over the movie by a decay of the brightness (%).",
    )
    background_fraction: Threshold = Field(
        Threshold(warning=0.15, fail=0.5),
        description="Intensity without light (the detector's offset) as a fraction of the median "
        "intensity, positive or negative: dF/F is too small, or too large, by this. It is known "
        "to about a tenth.",
    )
    saturated_pixels_per_512: Threshold = Field(
        Threshold(warning=800.0, fail=1000.0),
        description="Pixels that are saturated at least once in the sampled frames, which lie "
        "all over the movie; counted for a plane of 512 x 512 pixels, so that a small plane is "
        "judged alike.",
    )
    snr: Threshold = Field(
        Threshold(warning=0.5, fail=0.25),
        description="Mean (above background) over standard deviation of the pixels of a frame, "
        "mean over sampled frames; less is worse.",
    )
    photons_per_pixel: Threshold = Field(
        Threshold(warning=0.2, fail=0.05),
        description="Photons a pixel and frame, mean of the plane; less is worse.",
    )
    photons_per_roi: Threshold = Field(
        Threshold(warning=100.0, fail=50.0),
        description="Photons a ROI and frame at its baseline, median of the ROIs; less is worse.",
    )
    d_prime: Threshold = Field(
        Threshold(warning=2.0, fail=1.0),
        description="How far a small transient stands out of shot noise (Wilt et al. 2013), "
        "median of the ROIs; less is worse.",
    )
    epileptiform_events: Threshold = Field(
        Threshold(warning=0.0, fail=0.0), description="Short, large flashes of the whole field."
    )
    z_drift_um: Threshold = Field(
        Threshold(warning=5.0, fail=10.0),
        description="Drift along z from the start to the end of the movie, up or down (µm); only "
        "where there is a z-stack.",
    )
    z_range_um: Threshold = Field(
        Threshold(warning=5.0, fail=10.0),
        description="Largest minus smallest depth over the movie (µm); only where there is a "
        "z-stack.",
    )
    crosstalk: Threshold = Field(
        Threshold(warning=0.1, fail=0.3),
        description="Light of the plane recorded simultaneously that shows in this one, as a "
        "fraction of it; only where there is such a plane.",
    )


class PlaneQc(Section):
    """Quality of a movie: brightness, photons, epilepsy, z-drift, crosstalk."""

    max_border_px: int = Field(
        30,
        ge=0,
        description="Pixels left out at each edge, at most; as many as the shifts of good frames "
        "need there.",
    )
    max_sampled_frames: int = Field(
        2000,
        ge=100,
        description="Frames, evenly spread, that noise and photons are measured on, at most.",
    )
    drift_margin_frames: int = Field(
        300, ge=0, description="Frames left out at both ends of the movie for the drift."
    )
    drift_window_frames: Count = Field(
        200, description="Frames at the start and at the end that the drift compares."
    )
    drift_max_fraction: float = Field(
        0.1,
        gt=0,
        le=0.25,
        description="Neither of the two is more than this fraction of the movie.",
    )
    bleaching_blocks: int = Field(
        200, ge=10, description="Blocks of the movie whose brightness the decay is fitted to."
    )
    saturation_frames: Count = Field(
        500, description="Raw frames, evenly spread, in which saturated pixels are counted."
    )
    gain_percentiles: tuple[float, float] = Field(
        (1.0, 99.0),
        description="Pixels whose mean lies between these percentiles give the photon gain.",
    )
    neuropil_gap_px: Count = Field(
        2, description="Pixels left out between a ROI and what gives its neuropil (px)."
    )
    neuropil_min_pixels: Count = Field(
        350, description="The neuropil of a ROI is measured on at least so many pixels."
    )
    d_prime_dff: Positive = Field(
        0.15, description="Size of the transient that d' is about (dF/F of the cell's own light)."
    )
    d_prime_decay_s: Positive = Field(0.2, description="Decay of that transient (s).")
    epilepsy_prominence_percent: Positive = Field(
        10.0, description="An epileptiform event stands out of the field's brightness by more (%)."
    )
    epilepsy_width_s: tuple[Positive, Positive] = Field(
        (0.1, 0.3), description="Its width at half prominence lies between (s)."
    )
    epilepsy_baseline_s: Positive = Field(
        10.0, description="Window of the running median that brightness is compared with (s)."
    )
    z_block_s: Positive = Field(
        60.0,
        description="The depth is measured on means of so long (s), one after the other; on 60 of "
        "them, evenly spread, where the movie is longer than that, and on 5 shorter ones where "
        "it is shorter than 5.",
    )
    z_window_frames: Count = Field(
        500, description="Frames at the start and at the end whose depths are compared."
    )
    z_smooth_px: Positive = Field(
        3.0, description="Gaussian that images are smoothed by before they are compared (px)."
    )
    z_max_shift_fraction: Fraction = Field(
        0.2, description="The z-stack may be displaced by at most this fraction of the plane."
    )
    z_min_correlation: Fraction = Field(
        0.65,
        description="An image that correlates less with every plane lies nowhere in the stack.",
    )
    crosstalk_smooth_px: Positive = Field(
        1.5, description="Gaussian that frames are smoothed by before they are compared (px)."
    )
    crosstalk_active_fraction: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="Pixels of the other plane that are looked for, those that change most.",
    )
    crosstalk_max_offset_px: int = Field(
        2, ge=0, description="The light of the other plane may be displaced by at most this (px)."
    )
    crosstalk_pairs: int = Field(
        500, ge=50, description="Pairs of frames that the planes are compared on, at most."
    )
    checks: PlaneQcChecks = PlaneQcChecks()
