"""What was done to bring pulses and frames together: numbers, and words for a person."""

DECIDED_BY = {
    "pins": "the pin that the frames saw change tells which pulse is the first frame's",
    "jitter": "the intervals of the camera's clock tell which pulse is the first frame's",
    "gaps": "gaps of the frames and of the pulses tell which pulse is the first frame's",
    "number": "they are as many as exposures",
}


def alignment_numbers(found, n_pulses):
    """Numbers of an alignment, for the summary.

    Parameters
    ----------
    found : sluice.video.pulse_assignment.Alignment
    n_pulses : int
        All that there are.

    Returns
    -------
    dict
    """
    known = found.pulse[found.pulse >= 0]
    return {
        "decided_by": found.decided_by,
        "n_pulses_before": int(known[0]),
        "n_pulses_after": int(n_pulses - 1 - known[-1]),
        "n_pulses_extra": found.n_extra,
        "n_frames_outside": found.n_outside,
        "clock_drift_ppm": found.drift_ppm,
        "clock_residual_ms": None if found.residual_s is None else 1e3 * found.residual_s,
    }


def alignment_words(found, what):
    """Say what was done to bring pulses and frames together.

    Parameters
    ----------
    found : sluice.video.pulse_assignment.Alignment
    what : str
        How the pulses are called.

    Returns
    -------
    list of str
    """
    words = [DECIDED_BY.get(found.decided_by, "")]
    if found.decided_by == "rule":
        few = f"{-found.surplus} {what} fewer than exposures: the last are taken to be missing"
        more = (
            f"{found.surplus} {what} more than exposures, and nothing tells which: extra_pulses "
            "decides"
        )
        words = [few if found.surplus < 0 else more]
    if found.n_apart:
        words.append(
            f"the {what} and the camera's clock part by up to {found.n_apart} intervals from one "
            "frame to the next"
        )
    elif found.uncertainty and found.decided_by == "number":
        words.append(
            f"gaps of the {what} are taken for pauses of the camera; if {what} were lost there, "
            f"all times may be shifted by {found.uncertainty} frames"
        )
    if found.n_extra:
        words.append(f"{found.n_extra} {what} less than half an interval behind another left out")
    n_outside, n_without = found.n_outside, found.n_without
    if n_outside:
        words.append(f"{n_outside} frames at the ends have times at the median interval")
    if n_without > n_outside:
        words.append(f"{n_without - n_outside} frames within have times between their neighbours'")
    return words
