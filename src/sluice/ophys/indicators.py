"""How fast calcium indicators decay."""

import re

# Time constants of the exponential decay (s) that Allen detects events with: GCaMP6f 0.35 to
# 0.5, GCaMP6s about 0.7 to 0.74, jGCaMP8s 0.7, jGCaMP8m 0.4 (ophys_etl, event_detection). They
# are those of small transients at the body of a cell in vivo, and depend on the cell type
# and on how much indicator it holds; where that was measured, `decay_s` says it.
DECAY_S = {"6f": 0.4, "6s": 0.7, "8s": 0.7, "8m": 0.4}
KNOWN = "GCaMP6f, GCaMP6s, jGCaMP8s, jGCaMP8m"


def decay_of(indicator):
    """Look up the decay of an indicator.

    Parameters
    ----------
    indicator : str
        As people write it: ``GCaMP6f``, ``Ai148-GCaMP6f``, ``jGCaMP-8s``.

    Returns
    -------
    float or None
        Time constant (s); None if the indicator is not known or several are named.
    """
    text = re.sub(r"gcamp[\s_-]+(?=\d)", "gcamp", indicator.lower())
    # nothing that belongs to the name may follow: GCaMP6f, but not GCaMP6fx
    found = set(re.findall(r"gcamp(6f|6s|8s|8m)(?![a-z0-9])", text))
    return DECAY_S[found.pop()] if len(found) == 1 else None
