"""Units whose template is no neuron's: Allen's three rules, in µm and ms.

Allen's ecephys_spike_sorting (noise_templates) counts channels and samples of a
Neuropixels 1.0 probe at 30 kHz. Here the same rules are computed from the positions of the
contacts and from time, so that they hold for other probes: 1 channel is 10 µm along the
shank there, 1 sample 1/30 ms.

The rules on the extent of a spike need contacts close to each other, and enough of them. On
a shank with fewer than 8 usable channels, or with contacts more than 40 µm from their
nearest neighbours (tetrodes, sparse probes), only ``timing`` is judged.
"""

import numpy as np
from scipy.interpolate import CubicSpline, griddata
from scipy.signal import find_peaks

MIN_CHANNELS = 8
MAX_PITCH_UM = 40.0
SMOOTH_UM = 20.0  # Allen: Gaussian of 2 channels
NOISE_SDS = 4.0  # what the noise left in an average can reach
BASELINE_MS = 1 / 3  # before the spike begins: Allen's templates begin 20 samples before it
SHAPE_STEP_UM, SHAPE_STEPS, SHAPE_TOLERANCE_UM = 40.0, 3, 25.0  # Allen: every 4th of ±12
SHAPE_WIDTH_MS = 1 / 6  # Allen: wavelet of 5 samples, extremum within 5 samples
SHAPE_MIN_RATIO = 0.01
SPATIAL_RANGE_UM = 240.0  # Allen: ±24 rows of 10 µm
MARGIN_UM = 100.0  # beyond the range, for the interpolation
SPATIAL_COLUMN_RATIO = 0.25
SPATIAL_PROMINENCE = 0.2
GRID_COLUMN_UM, GRID_ROW_UM = 8.0, 10.0  # Allen: 5 columns within the outermost contacts


def ricker(width, *, reach=5):
    """Sample a Ricker wavelet (negative second derivative of a Gaussian).

    ψ(t) = 2 / (√(3w) π^¼) · (1 - t²/w²) · exp(-t²/(2w²)); scipy had it until 1.14.

    Parameters
    ----------
    width : float
        w, in samples.
    reach : float
        Sampled to this many widths on either side.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Odd length, symmetric. (Scipy's kernels had an even length where Allen use them,
        which moved the result by half a sample.)
    """
    half = int(np.ceil(reach * width))
    t = np.arange(-half, half + 1) / width
    return 2 / (np.sqrt(3 * width) * np.pi**0.25) * (1 - t**2) * np.exp(-(t**2) / 2)


def is_dense(positions_um):
    """Tell whether contacts are close and many enough to judge the extent of a spike.

    Parameters
    ----------
    positions_um : ndarray of float, shape (n_channels, 2)
        Usable contacts of one shank.

    Returns
    -------
    bool
    """
    if len(positions_um) < MIN_CHANNELS:
        return False
    distance = np.hypot(*(positions_um[:, None] - positions_um[None]).transpose(2, 0, 1))
    np.fill_diagonal(distance, np.inf)
    return bool(np.median(distance.min(axis=1)) <= MAX_PITCH_UM)


def spread_um(amplitudes, y_um, *, threshold):
    """Measure how far along the shank a template is visible.

    Parameters
    ----------
    amplitudes : ndarray of float, shape (n_channels,)
        Largest deflection of each channel, relative to the largest of all.
    y_um : ndarray of float, shape (n_channels,)
    threshold : float

    Returns
    -------
    float
        Number of rows of contacts whose smoothed amplitude (Gaussian of 20 µm along the
        shank) exceeds the threshold, times the distance between rows (µm).
    """
    rows = np.unique(y_um.round())
    pitch = np.median(np.diff(rows)) if len(rows) > 1 else 0.0
    weights = np.exp(-((rows[:, None] - y_um[None]) ** 2) / (2 * SMOOTH_UM**2))
    smoothed = weights @ amplitudes / weights.sum(axis=1)
    return float(np.count_nonzero(smoothed > threshold) * pitch)


def has_spike_shape(template, positions_um, peak, trough, *, sampling_rate_hz):
    """Tell whether the waveform changes with the distance from the peak as a spike's does.

    A spike gets later and broader away from the cell, so the mean of the neighbours'
    waveforms (each scaled to 1) minus the peak's has a positive bump at the trough. An
    artifact is the same everywhere. Allen: the extremum of a wavelet transform (Ricker, 5
    samples) of that difference is within 5 samples of the trough and positive; neighbours
    every 40 µm up to 120 µm to either side. Here the bump must be more than 1 % of the same
    transform of the peak's waveform, since exactly equal waveforms differ by rounding.

    Parameters
    ----------
    template : ndarray of float, shape (n_samples, n_channels)
    positions_um : ndarray of float, shape (n_channels, 2)
    peak : int
        Row of the peak channel.
    trough : int
        Sample of the trough.
    sampling_rate_hz : float

    Returns
    -------
    bool
        True also where fewer than two neighbours are there to compare with.
    """
    neighbours = set()
    for step in (*range(-SHAPE_STEPS, 0), *range(1, SHAPE_STEPS + 1)):
        target = positions_um[peak] + (0, step * SHAPE_STEP_UM)
        distance = np.hypot(*(positions_um - target).T)
        if distance.min() <= SHAPE_TOLERANCE_UM:
            neighbours.add(int(distance.argmin()))
    heights = np.abs(template).max(axis=0)
    neighbours = [n for n in sorted(neighbours - {peak}) if heights[n] > 0]
    if len(neighbours) < 2:
        return True
    mean = (template[:, neighbours] / heights[neighbours]).mean(axis=1)
    own = template[:, peak] / heights[peak]
    width = SHAPE_WIDTH_MS * sampling_rate_hz / 1000
    wavelet = ricker(width)
    half = len(wavelet) // 2
    bump = np.convolve(mean - own, wavelet)[half:-half]  # as long as the template
    least = SHAPE_MIN_RATIO * np.abs(np.convolve(own, wavelet)).max()
    top = int(bump.argmax())
    return bool(bump[top] > least and abs(top - trough) < width)


def interpolate_columns(values, positions_um):
    """Interpolate a value of every contact on columns along the shank (cubic).

    Parameters
    ----------
    values : ndarray of float, shape (n_channels,)
    positions_um : ndarray of float, shape (n_channels, 2)

    Returns
    -------
    columns : ndarray of float64, shape (n_columns, n_rows)
        Columns 8 µm apart within the outermost contacts, zero beyond them; one column
        where all contacts are in a line along the shank.
    y_um : ndarray of float64, shape (n_rows,)
        10 µm apart.
    """
    x, y = positions_um.T
    rows = np.arange(y.min(), y.max() + GRID_ROW_UM / 2, GRID_ROW_UM)
    across = np.arange(x.min() + GRID_COLUMN_UM, x.max(), GRID_COLUMN_UM)
    if len(across) == 0:
        heights, row_of = np.unique(y, return_inverse=True)
        means = np.bincount(row_of, values) / np.bincount(row_of)
        return CubicSpline(heights, means)(rows)[None], rows
    targets = np.meshgrid(across, rows, indexing="ij")
    return griddata(positions_um, values, tuple(targets), method="cubic", fill_value=0.0), rows


def peaks_sd_um(values, positions_um, peak, *, floor):
    """Measure how far apart the spatial peaks of a template are.

    Parameters
    ----------
    values : ndarray of float, shape (n_channels,)
        The template at the moment of its largest range.
    positions_um : ndarray of float, shape (n_channels, 2)
    peak : int
        Row of the peak channel; peaks 240 µm or more from it along the shank do not count.
    floor : float
        Height that noise can reach; a peak must stand out by more.

    Returns
    -------
    float
        Standard deviation of the positions along the shank (µm) of all peaks of all
        columns that reach a quarter of the largest value; each stands out by 0.2 of its
        column's largest value. 0 without peaks.
    """
    near = np.abs(positions_um[:, 1] - positions_um[peak, 1]) <= SPATIAL_RANGE_UM + MARGIN_UM
    columns, y_um = interpolate_columns(values[near], positions_um[near])
    sign = np.sign(columns.flat[np.abs(columns).argmax()])
    heights = np.abs(columns).max(axis=1)
    found = []
    for column, height in zip(sign * columns, heights, strict=True):
        if height >= SPATIAL_COLUMN_RATIO * heights.max() > 0:
            least = max(SPATIAL_PROMINENCE * height, floor)
            found.append(y_um[find_peaks(column, height=least, prominence=least)[0]])
    found = np.concatenate(found) if found else np.zeros(0)
    found = found[np.abs(found - positions_um[peak, 1]) < SPATIAL_RANGE_UM]
    return float(found.std()) if len(found) else 0.0


def artifact_reasons(template, positions_um, peak, trough, *, sampling_rate_hz, rules):
    """Judge one template by the three rules.

    ``spread``: visible on a single contact; or over more than `max_spread_um`; or over
    more than `check_shape_above_um` without a spike's shape (`has_spike_shape`).
    ``timing``: the moment of the largest range over the channels (and zero, so that a
    shank whose contacts all see the same has one too) is more than `max_peak_offset_ms`
    from the trough. ``spatial``: several spatial peaks (`peaks_sd_um`).

    Unlike Kilosort's templates, a mean over spikes keeps some noise: values up to four
    times its standard deviation before the spike do not count as visible.

    Parameters
    ----------
    template : ndarray of float32, shape (n_samples, n_channels)
        µV, the usable channels of the unit's shank.
    positions_um : ndarray of float, shape (n_channels, 2)
    peak : int
        Column of the peak channel in `template`.
    trough : int
        Sample of the trough.
    sampling_rate_hz : float
    rules : dict
        ``ephys.clean_units.artifact_rules``.

    Returns
    -------
    list of str
        The rules that say artifact; empty for a neuron.
    """
    reasons = []
    spatial_range = template.max(axis=1, initial=0) - template.min(axis=1, initial=0)
    moment = int(spatial_range.argmax())
    if is_dense(positions_um):
        baseline = template[: round(BASELINE_MS * sampling_rate_hz / 1000)]
        floor = NOISE_SDS * float(np.median(np.abs(baseline))) / 0.6745
        visible = np.where(np.abs(template) > floor, template, 0)
        if _wrong_spread(visible, positions_um, peak, trough, sampling_rate_hz, rules):
            reasons.append("spread")
        if peaks_sd_um(visible[moment], positions_um, peak, floor=floor) > rules["max_peaks_sd_um"]:
            reasons.append("spatial")
    if abs(moment - trough) * 1000 / sampling_rate_hz > rules["max_peak_offset_ms"]:
        reasons.insert(1 if "spread" in reasons else 0, "timing")
    return reasons


def _wrong_spread(visible, positions_um, peak, trough, sampling_rate_hz, rules):
    heights = np.abs(visible).max(axis=0)
    if heights.max() == 0:
        return True
    relative = heights / heights.max()
    spread = spread_um(relative, positions_um[:, 1], threshold=rules["visible_ratio"])
    if spread > rules["max_spread_um"]:
        return True
    if spread > rules["check_shape_above_um"]:
        return not has_spike_shape(
            visible, positions_um, peak, trough, sampling_rate_hz=sampling_rate_hz
        )
    return np.count_nonzero(relative > rules["visible_ratio"]) < 2
