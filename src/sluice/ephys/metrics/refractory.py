"""Sliding refractory period: how sure are we that a unit is hardly contaminated."""

import numpy as np
from numba import njit
from scipy.special import gammainc, gammaincinv

LONGEST_S = 0.010  # refractory periods up to here are tried
SHORTEST_S = 0.0005  # and longer than this: shorter ones are no neuron's
STEP_PERCENT, MOST_PERCENT = 0.5, 34.5  # contaminations that IBL tries


@njit(cache=True, nogil=True)
def pair_lags(samples, n_lags, near, far):
    """Count the pairs of spikes by their lag, short ones singly and one range as a whole.

    Parameters
    ----------
    samples : ndarray of int64, shape (n_spikes,)
        Ascending.
    n_lags : int
        Lags of 0 to n_lags - 1 samples are counted singly.
    near, far : int
        Range of lags that is counted as a whole, near ≤ lag < far, in samples.

    Returns
    -------
    counts : ndarray of int64, shape (n_lags,)
        Pairs of a spike and a later one with each lag.
    n_between : int
        Pairs in the range.
    """
    counts = np.zeros(n_lags, np.int64)
    n_between = 0
    first = last = 0
    for i in range(len(samples)):
        j = i + 1
        while j < len(samples) and samples[j] - samples[i] < n_lags:
            counts[samples[j] - samples[i]] += 1
            j += 1
        while first < len(samples) and samples[first] - samples[i] < near:
            first += 1
        while last < len(samples) and samples[last] - samples[i] < far:
            last += 1
        n_between += last - first
    return counts, n_between


def sliding_refractory_period(
    samples, *, sampling_rate_hz, contamination_percent=10.0, confidence_percent=90.0
):
    """Confidence that contamination is low, whatever the length of the refractory period.

    For every refractory period τ longer than 0.5 ms and up to 10 ms, in steps of a sample:
    with a fraction c of contamination, N spikes and a rate f, a Poisson distributed number
    of pairs with mean λ = 2 τ f c N is expected within τ. The confidence that contamination
    is below c is the probability of more pairs than the n that were observed, P(X > n; λ).
    The best τ counts. The rate f is that of pairs 1 to 2 s apart, divided by N: it follows
    slow changes of the rate, which N / T does not.

    Source: SteinmetzLab slidingRefractory 1.1.1, ``slidingRP``, as ibllib calls it;
    columns ``ibl_max_confidence`` and ``ibl_min_contamination``. The reference evaluates
    300 refractory periods x 69 contaminations; here P(X > n; λ) = gammainc(n + 1, λ) is
    inverted for λ, and the smallest contamination rounded up to the reference's steps.
    It takes 30 kHz for granted; here a step is a sample at any rate. It converts times to
    samples by truncation, which moves some spikes by a sample; here samples are exact.

    Spikes closer than the sorter can tell apart are missing from the observed pairs, which
    flatters a unit a little (as in the reference).

    Parameters
    ----------
    samples : ndarray of int64, shape (n_spikes,)
        Ascending.
    sampling_rate_hz : float
    contamination_percent : float
        The contamination that `max_confidence` is about.
    confidence_percent : float
        The confidence that `min_contamination` is about.

    Returns
    -------
    max_confidence : float
        Percent, 0 to 100. Few spikes give a low confidence. NaN without spikes.
    min_contamination : float
        Percent, 0.5 to 34.5 in steps of 0.5: the smallest contamination that can be excluded
        with the given confidence. NaN where none of these can.
    """
    n_spikes = len(samples)
    if n_spikes == 0:
        return np.nan, np.nan
    second = round(sampling_rate_hz)
    n_lags = int(np.ceil(round(LONGEST_S * sampling_rate_hz, 6)))
    counts, n_slow = pair_lags(samples, n_lags, second, 2 * second)
    if n_slow == 0:
        return 0.0, np.nan
    tried = np.arange(n_lags) + 0.5 > SHORTEST_S * sampling_rate_hz
    observed = np.cumsum(counts)[tried]
    periods_s = (np.flatnonzero(tried) + 1) / sampling_rate_hz
    # n_slow / N is the rate; times N it is n_slow.
    expected_if_all = 2 * periods_s * n_slow
    confidence = gammainc(observed + 1, expected_if_all * contamination_percent / 100)
    needed = gammaincinv(observed + 1, confidence_percent / 100)
    smallest_percent = 100 * np.min(needed / expected_if_all)
    steps = np.ceil(smallest_percent / STEP_PERCENT) * STEP_PERCENT
    return 100 * confidence.max(), steps if steps <= MOST_PERCENT else np.nan
