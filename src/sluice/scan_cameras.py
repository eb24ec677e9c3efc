"""Find behaviour videos below a session: its ``raw_video_data`` folder.

A video is named by its file: ``_iblrig_leftCamera.raw.avi``, ``leftCamera.mp4`` and ``left.avi``
are all leftCamera. What lies beside it under the same name, the video's or the camera's, is taken
for its timing, as IBL's rigs write it: ``*leftCamera.timestamps.ssv``,
``*leftCamera.frame_counter.bin``, ``*leftCamera.GPIO.bin``, ``*leftCamera.frameData.bin``,
``*leftCamera.times.npy`` and ``*leftCamera.ttl.npy`` (or tsv, csv). What no file says stands in
``cameras.json``.
"""

import itertools
import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

from sluice.errors import InputError
from sluice.io.check_stream import problem_of
from sluice.session import Camera

FOLDER = "raw_video_data"
FACTS = "cameras.json"
SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".m4v", ".wmv", ".mpg", ".mpeg", ".mj2", ".webm")
NAMESPACE = re.compile(r"^_[a-z]+_")
# ONE may put a dataset's identifier into a file's name.
UUID = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=\.)")
# End of a file's name in lower case, and the column it fills.
BESIDE = {
    "timestamps.ssv": "timestamps",
    "timestamps.npy": "timestamps",
    "frame_counter.bin": "frame_counter",
    "frame_counter.npy": "frame_counter",
    "gpio.bin": "gpio",
    "gpio.npy": "gpio",
    "framedata.bin": "frame_data",
    "times.npy": "frame_times",
    "times.tsv": "frame_times",
    "times.csv": "frame_times",
    "ttl.npy": "ttl",
    "ttl.tsv": "ttl",
    "ttl.csv": "ttl",
}
FILES = ("frame_times", "ttl", "timestamps", "frame_counter", "gpio", "frame_data", "gpio_pulses")
KEYS = {
    f.name: f.type
    for f in fields(Camera)
    if f.name not in ("session", "kind", "name", "path", "format")
}


def describe_cameras(session, folder):
    """List the cameras of a session.

    Parameters
    ----------
    session : str
    folder : Path
        Folder of the session.

    Returns
    -------
    list of (dict, str)
        Row of each camera, columns as `Camera` and what its header says; and its start, which
        no video says: empty.

    Raises
    ------
    InputError
        ``cameras.json`` is wrong.
    """
    raw = folder / FOLDER
    if not raw.is_dir():
        return []
    facts = _read_facts(raw / FACTS)
    videos = _videos(raw)
    if unknown := sorted(facts.keys() - videos.keys()):
        raise InputError(
            f"{raw / FACTS}: {', '.join(unknown)} is no camera of the folder; "
            f"found {', '.join(videos) or 'no video'}. Correct the name."
        )
    return [(_describe(session, n, path, facts.get(n, {})), "") for n, path in videos.items()]


def camera_name(path):
    """Name the camera of a video by the file: ``leftCamera`` for ``_iblrig_leftCamera.raw.avi``."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", _stem(path)) if word]
    joined = "".join(word[0].upper() + word[1:] for word in words)
    joined = re.sub(r"(?i)camera$", "", joined).lstrip("0123456789") or "Video"
    return joined[0].lower() + joined[1:] + "Camera"


def _stem(path):
    """Name of a video without namespace, identifier and ending."""
    name = UUID.sub("", NAMESPACE.sub("", Path(path).name))
    return name.removesuffix(Path(path).suffix).removesuffix(".raw")


def _videos(raw):
    """Videos by the name of their camera; others of one name have their format and a number."""
    found = {}
    for path in sorted(raw.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            name = camera_name(path)
            stem, ending = name.removesuffix("Camera"), path.suffix[1:].capitalize()
            others = (f"{stem}{ending}{k or ''}Camera" for k in itertools.count())
            while name in found:
                name = next(others)
            found[name] = path
    return found


def _read_facts(path):
    """Read ``cameras.json``: for each camera what its files do not say; checked."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path}: is no JSON ({error}). Correct the file.") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise InputError(f'{path}: expected {{"leftCamera": {{...}}}}, one entry a camera.')
    problems = [
        f"{camera}: {problem}"
        for camera, facts in content.items()
        for problem in _fact_problems(facts)
    ]
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return content


def _fact_problems(facts):
    for key, value in facts.items():
        if key not in KEYS:
            yield f"{key!r} is no key of this file; known keys: {', '.join(KEYS)}"
        elif KEYS[key] is str and not isinstance(value, str):
            yield f"{key} is {value!r}; expected text"
        elif KEYS[key] is not str and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            yield f"{key} is {value!r}; expected a number"


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _describe(session, name, path, facts):
    """Row of one camera."""
    camera = Camera(session, "camera", name, str(path), "video")
    beside = {}
    for file in sorted(path.parent.iterdir()):
        beside_name = UUID.sub("", NAMESPACE.sub("", file.name)).lower()
        for stem in (name, _stem(path)):
            end = beside_name.removeprefix(f"{stem}.".lower())
            if end != beside_name and end in BESIDE:
                beside.setdefault(BESIDE[end], str(file))
    given = {
        key: str((path.parent / value).resolve()) if key in (*FILES, "wheel") and value else value
        for key, value in facts.items()
    }
    camera = replace(camera, **{**beside, **given})
    row = asdict(camera)
    # one that cannot be read stays in the table: planning the workflow names the problem
    return row if problem_of(camera) else row | _header(path)


def _header(path):
    """What the header of a video says; nothing where it says nothing that can be."""
    import cv2

    video = cv2.VideoCapture(str(path))
    try:
        n, rate_hz = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
        size = video.get(cv2.CAP_PROP_FRAME_HEIGHT), video.get(cv2.CAP_PROP_FRAME_WIDTH)
    finally:
        video.release()
    found = {"size_bytes": path.stat().st_size}
    if min(size) > 0:
        found |= {"height": int(size[0]), "width": int(size[1])}
    if n > 0 and rate_hz > 0:
        found |= {"n_frames": int(n), "duration_s": round(n / rate_hz, 3)}
    return found
