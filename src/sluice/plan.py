"""What a run of the workflow has before it: sessions, streams, and what is left out."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sluice.containers import load_containers
from sluice.errors import InputError, SettingsError
from sluice.io.check_plane import fill_rows
from sluice.io.check_stream import problem_of, raw_files
from sluice.session import Camera, Plane, Stream, load_sessions, load_streams
from sluice.video.deeplabcut_project import find_weights, model_files


@dataclass(frozen=True)
class Plan:
    """Sessions and streams of the tables, readable ones apart from those left out.

    Attributes
    ----------
    sessions : list of str
        Sessions to work on.
    streams : list of Stream, Plane or Camera
        Their streams that can be read.
    left_out : list of (Stream, Plane or Camera, str)
        Streams that cannot, each with the reason.
    containers : dict of str to list of (str, str)
        (session, plane) of the members of each container that is worked on.
    unmatched : list of (str, str)
        Containers whose cells are not matched, each with the reason.
    """

    sessions: list[str]
    streams: list[Stream | Plane | Camera]
    left_out: list[tuple[Stream | Plane | Camera, str]]
    containers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    unmatched: list[tuple[str, str]] = field(default_factory=list)

    @property
    def notices(self):
        """Lines to show before the first job starts."""
        if not self.sessions:
            return ["The table lists no session. `sluice scan RAW` fills it from raw data."]
        streams = [f"left out: {s.session} {s.name}: {why}" for s, why in self.left_out]
        return streams + [f"left out: container {c}: {why}" for c, why in self.unmatched]

    @property
    def probes(self):
        """(session, probe) of every readable probe."""
        return self._names("probe")

    @property
    def planes(self):
        """(session, plane) of every readable imaging plane."""
        return self._names("plane")

    @property
    def cameras(self):
        """(session, camera) of every readable behaviour video."""
        return self._names("camera")

    def stream_row(self, session, name):
        """One stream as a plain dict, which is how rules hand it to scripts."""
        return asdict(self._stream(session, name))

    def raw_files(self, session, name):
        """Paths of the files a stream is read from."""
        return [str(path) for path in raw_files(self._stream(session, name))]

    def _names(self, kind):
        return [(s.session, s.name) for s in self.streams if s.kind == kind]

    def _stream(self, session, name):
        return next(s for s in self.streams if (s.session, s.name) == (session, name))


def load_plan(settings):
    """Read the tables the settings name and look at every raw file's size and header.

    Parameters
    ----------
    settings : dict
        Validated settings.

    Returns
    -------
    Plan

    Raises
    ------
    SettingsError
        The tables are wrong, `only` names a session that is not in them, the folder of
        results cannot be written, or a pose model is not there.
    """
    _check_writable(settings["results"])
    _check_pose_models(settings["video"]["pose_models"])
    sessions = list(load_sessions(settings["sessions"]).index)
    streams = load_streams(settings["streams"], sessions)
    only = settings["only"]
    if unknown := [name for name in only if name not in sessions]:
        raise SettingsError(
            f"only: {', '.join(unknown)} is not in {settings['sessions']}; "
            f"sessions are named subject/date/number, e.g. {', '.join(sessions[:3])}"
        )
    chosen = [s for s in sessions if not only or s in only]
    readable, left_out = [], []
    for stream in streams:
        if stream.session in chosen:
            problem = problem_of(stream)
            if problem:
                left_out.append((stream, problem))
            else:
                readable.append(stream)
    planes = [s for s in streams if s.kind == "plane"]
    filled = fill_rows([s for s in readable if s.kind == "plane"], listed=planes)
    readable = [s for s in readable if s.kind != "plane"] + filled
    listed = load_containers(settings["containers"], planes)
    containers, unmatched = _matched(listed, readable, chosen)
    return Plan(chosen, readable, left_out, containers, unmatched)


def _matched(listed, readable, chosen):
    """Split containers into those to work on and those that cannot be matched.

    Without one of its members a container would give other cells, and other names to those
    that stay: it is left as it is. A container with a session that is not worked on now is none
    of this run's business.
    """
    known = {(s.session, s.name) for s in readable}
    containers, unmatched = {}, []
    for container in listed:
        if not {session for session, _ in container.members} <= set(chosen):
            continue
        if missing := [" ".join(m) for m in container.members if m not in known]:
            why = (
                f"{', '.join(missing)} cannot be read; its cells are not matched again. Mend it, "
                "or take its row out of the table of containers: cells may get other names then"
            )
            unmatched.append((container.name, why))
        else:
            containers[container.name] = list(container.members)
    return containers, unmatched


def _check_pose_models(models):
    """Find out before the first job whether the pose models that are named are there."""
    problems = [p for name, model in models.items() for p in _pose_problems(name, model)]
    if problems:
        raise SettingsError(
            f"video.pose_models.{'; '.join(problems)}. Paths are taken from the project and from "
            "the folder snakemake is started in; without a snapshot the model is trained."
        )


def _pose_problems(name, model):
    """What of one pose model is not there."""
    if not Path(model["project"]).exists():
        return [f"{name}.project: {model['project']} is not found"]
    missing = [
        f"{name}.{key}: {model[key]} is not found"
        for key in ("snapshot", "initial_weights")
        if model[key] and find_weights(model["project"], model[key]) is None
    ]
    if model["snapshot"] and not missing:
        try:
            model_files(model["project"], model["snapshot"], name=f"{name}.snapshot")
        except InputError as error:
            return [str(error)]
    return missing


def _check_writable(folder):
    """Find out before the first job whether results can be written."""
    nearest = Path(folder).absolute()
    try:
        while not nearest.exists():
            nearest = nearest.parent
        problem = "" if nearest.is_dir() else f"{nearest} is not a folder"
        writable = os.access(nearest, os.W_OK | os.X_OK)
    except PermissionError:  # a folder above it is closed to this user
        problem, writable = "", False
    if problem or not writable:
        raise SettingsError(
            f"results: {folder} cannot be used, "
            f"{problem or f'{nearest} cannot be written by this user'}; "
            "change its permissions or set `results` to another folder"
        )
