"""An npy file as it is, or what is wrong with it in words."""

from pathlib import Path

import numpy as np

MAGIC = b"\x93NUMPY"


def load_npy(path):
    """Read an array from an npy file.

    numpy's own messages for damaged files advise to load them unsafely; these do not.

    Parameters
    ----------
    path : path

    Returns
    -------
    array

    Raises
    ------
    ValueError
        It is no npy file, is cut short or damaged, or holds objects; the message is a clause
        that follows the path: ``is no npy file (…)``.
    """
    with Path(path).open("rb") as handle:
        first = handle.read(len(MAGIC))
    if not first:
        raise ValueError("is empty")
    if first != MAGIC:
        raise ValueError(f"is no npy file (it begins with {first!r})")
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        if "Object arrays" in str(error):
            raise ValueError("holds objects of Python, not numbers") from None
        raise ValueError("is damaged or cut short") from None
