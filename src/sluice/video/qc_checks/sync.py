"""Checks of the picture against what else was recorded: the wheel, the camera's pin."""

from sluice.video.qc_checks.seen import Measured


def wheel_lag(seen):
    """Frames by which the picture is late or early against the wheel."""
    if seen.lag is None:
        return None
    lag = seen.lag.lag_frames
    return Measured(None if lag is None else abs(lag), seen.lag.message)


def pin_pulses(seen):
    """Pulses that the camera's pin saw, against those that were sent to it.

    IBL (check_pin_state): WARNING where they differ. Pulses shorter than a frame may fall
    between two.
    """
    pulses = seen.summary.get("pin_pulses")
    if pulses is None:
        return None
    n_seen, n_sent = pulses["n_seen"], pulses["n_sent"]
    return Measured(abs(n_seen - n_sent), f"{n_seen} were seen, {n_sent} sent")
