"""By how many frames times may be off: what the pin, the record and the video say of them."""

from dataclasses import replace

import numpy as np

from sluice.video.exposures import interval_of
from sluice.video.pin_offsets import compare_pin

# Part of an interval by which an edge may lie outside its frames before the line is doubted.
OUTSIDE = 0.1
# Part of the changes that a line must have; fewer may be those of one side of lost frames.
MIN_MATCHED = 0.9
# Changes from which a line through them shows frames that were lost between them.
MIN_SHOWING = 10
# Changes without an edge, one after the other, that are no chance.
MIN_LONE = 3
# Intervals that the error of a line may have; it is stated, below that no frame is another's.
MAX_ERROR = 1.0
# Offsets that are tried, in frames, where nothing says how many frames may have been lost.
MAX_OFFSET = 1000


def doubts_of_pulses(found, n_pulses, pin, has_losses, settings):
    """By how many frames times of pulses may be off, by the changes of a pin.

    Parameters
    ----------
    found : sluice.video.pulse_assignment.Alignment
    n_pulses : int
        All that there are.
    pin : tuple of (bool array of shape (n_frames,), sluice.io.pulses.Edges) or None
    has_losses : bool
        Whether a counter or a clock of the camera shows frames that it lost.
    settings : dict
        ``video.camera_times``.

    Returns
    -------
    uncertainty : int
        Frames; 0 if nothing speaks against the times.
    words : list of str
    """
    if pin is None:
        return 0, []
    known = found.pulse[found.pulse >= 0]
    n_before, n_behind = int(known[0]), int(n_pulses - 1 - known[-1])
    most = n_before + n_behind + settings["max_frame_difference"]
    compared = compare_pin(found.times_s, *pin, max_offset=most)
    uncertainty, words = compared.n_off, _words_of(compared)
    if not has_losses and compared.n_lone >= MIN_LONE:
        uncertainty = max(uncertainty, 1)
        words.append(f"{compared.n_lone} changes of the pin, one after the other, have no edge")
    # where an end was not seen frames may have been lost, for which there are pulses
    if found.decided_by == "pins" and not has_losses:
        for is_open, n, where, end in (
            (compared.is_open_before, n_before, "before", "beginning"),
            (compared.is_open_behind, n_behind, "behind", "end"),
        ):
            if is_open and n:
                uncertainty = max(uncertainty, n)
                words.append(
                    f"no change of the pin near the {end} of the video agrees: the {n} pulses "
                    f"{where} it may be those of frames that the camera lost"
                )
    return uncertainty, words


def doubts_of_line(fit, pin, has_losses, settings):
    """By how many frames times on a line through changes of a pin may be off.

    Parameters
    ----------
    fit : sluice.video.pin_clock.PinFit
    pin, has_losses, settings
        See `doubts_of_pulses`.

    Returns
    -------
    uncertainty : int
    words : list of str
    """
    n_frames, period_s = len(fit.times_s), interval_of(fit.times_s)
    compared = compare_pin(fit.times_s, *pin, max_offset=min(n_frames, MAX_OFFSET))
    found = [(compared.n_off, words) for words in _words_of(compared)]
    outside = max(0, int(np.ceil(-fit.margin_s / period_s - OUTSIDE)))
    if outside:
        words = f"a change of the pin lies {-1e3 * fit.margin_s:.2f} ms beside its frames"
        found.append((outside, words))
    elif fit.error_s > MAX_ERROR * period_s:
        words = f"few changes of the pin: times may be off by {fit.error_s / period_s:.1f} frames"
        found.append((round(fit.error_s / period_s), words))
    if fit.n_known - fit.n_matched > max(1, (1 - MIN_MATCHED) * fit.n_known):
        words = f"{fit.n_known - fit.n_matched} of {fit.n_known} changes are not on the line"
        found.append((1, words))
    if not has_losses:
        found += _doubts_without_clock(fit, compared, bool(outside), settings)
    return max((n for n, _ in found), default=0), [words for _, words in found]


def doubt_record(found, record, info):
    """Doubt times for which a record was used that is longer or shorter than the video.

    Which frame the video or the record lacks is not known: the last one, as it is taken to be,
    or any other, behind which all times are off. Pulses that are as many as frames, each with
    its own, need no record.

    Parameters
    ----------
    found : sluice.video.time_sources.FoundTimes
    record : sluice.io.camera_clock.CameraRecord
    info : sluice.video.video_info.VideoInfo

    Returns
    -------
    sluice.video.time_sources.FoundTimes
    """
    is_plain = found.source == "pulses" and found.n_found == info.n_frames
    if found.source in ("frame_times", "video"):
        return found
    if is_plain and not found.is_interpolated.any():
        return found
    # the pins are of use with their edges alone
    columns = [key for key in record.differences if found.pin is not None or "gpio" not in key]
    worst = max((abs(record.differences[key]) for key in columns), default=0)
    if not worst:
        return found
    words = (
        "which frame the video or the camera's record lacks is not known: times may be off by "
        f"{worst} frames"
    )
    return replace(found, uncertainty=max(found.uncertainty, worst), words=[*found.words, words])


def doubt_lost_frames(found, info):
    """Doubt times of a video whose source had frames that could not be decoded.

    Parameters
    ----------
    found : sluice.video.time_sources.FoundTimes
    info : sluice.video.video_info.VideoInfo

    Returns
    -------
    sluice.video.time_sources.FoundTimes
    """
    n_lost = int(info.source.get("n_lost") or 0)
    if n_lost <= 0:
        return found
    words = f"{n_lost} frames of the source could not be decoded: times behind them may be off"
    return replace(found, uncertainty=found.uncertainty + n_lost, words=[*found.words, words])


def _doubts_without_clock(fit, compared, is_outside, settings):
    """What frames that were lost unseen would look like."""
    drift, n_frames = abs(fit.drift_ppm), len(fit.times_s)
    found = []
    if drift > settings["max_pin_drift_ppm"]:
        # many changes, all on the line, show that it is one
        is_line = fit.n_matched >= MIN_SHOWING and not is_outside
        n = 1 if is_line else int(np.ceil(drift * 1e-6 * n_frames))
        words = (
            f"the video runs {-fit.drift_ppm:+.0f} ppm beside the pin's clock; expected at most "
            f"{settings['max_pin_drift_ppm']:g} (video.camera_times.max_pin_drift_ppm): its rate "
            "is not exact, or frames were lost"
        )
        found.append((n, words))
    if fit.n_matched < MIN_SHOWING:
        words = f"{fit.n_matched} changes of the pin would not show frames that were lost"
        found.append((1, words))
    if compared.is_open_before or compared.is_open_behind:
        words = "no change of the pin near an end of the video agrees: frames lost there go unseen"
        found.append((1, words))
    return found


def _words_of(compared):
    """What a stretch of changes that are off looks like."""
    if not compared.n_off:
        return []
    return [
        f"from frame {compared.first_off} on changes of the pin are seen up to {compared.n_off} "
        "frames beside their edges: frames or pulses were lost there of which nothing else tells"
    ]
