"""Writes the behaviour videos of a made-up session, with clocks, wheel and the truth."""

import datetime
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sluice.errors import UserError
from sluice.synth import spikeglx
from sluice.synth.camera_behavior import make_behavior
from sluice.synth.camera_files import GPIO_PIN, RECORDS, VIDEOS, write_records, write_video
from sluice.synth.camera_scene import TTL_WIDTH_S, make_camera_scene
from sluice.synth.camera_settings import CameraSettings
from sluice.synth.camera_truth import write_camera_truth

# Digital lines of the NI board: of the cameras in turn, and of the device that their pins see.
TTL_LINES = (4, 6, 7, 2, 1, 0)
GPIO_LINE = 5
# The board's file from the folder of the videos.
NIDQ = f"../raw_ephys_data/{spikeglx.RUN_NAME}_g0_t0.nidq.bin"
WHEEL_RATE_HZ = 250.0


@dataclass(frozen=True)
class CameraSession:
    """What `write_camera_session` wrote.

    Attributes
    ----------
    name : str
        ``<subject>/<date>/<number>``.
    folder : Path
        ``<raw>/<subject>/<date>/<number>``.
    video_files : dict of str to Path
        Camera's name (``leftCamera``) to its video.
    truth_folders : dict of str to Path
        Camera's name to the folder of its truth.
    scenes : dict of str to CameraScene
    """

    name: str
    folder: Path
    video_files: dict
    truth_folders: dict
    scenes: dict


def write_camera_session(
    raw,
    *,
    subject="SYN001",
    date="2026-01-15",
    number="001",
    cameras=("leftCamera",),
    seed=0,
    day=0,
    video="mjpeg",
    records=RECORDS,
    ttl="nidq",
    gpio=True,
    wheel=True,
    of_camera=None,
    **settings,
):
    """Write the videos of a session, what belongs to them, and their truth.

    In ``<raw>/<subject>/<date>/<number>/``:

    ``raw_video_data/``
        ``_iblrig_leftCamera.raw.avi`` and what lies beside it (see
        `sluice.synth.camera_files`), and ``cameras.json``, which says what the files cannot: for
        each camera the fields of `sluice.session.Camera`, paths from this folder.
    ``raw_ephys_data/_spikeglx_ephysData_g0_t0.nidq.bin``
        The pulses are put on lines of the file that `make_session` wrote, which must have come
        before; where there is none, one is written.
    ``raw_behavior_data/``
        ``_ibl_wheel.position.npy`` (rad) and ``_ibl_wheel.timestamps.npy`` (s on the session's
        clock), 250 samples a second.
    ``truth/leftCamera/``
        See `sluice.synth.camera_truth.write_camera_truth`.

    All cameras see the same animal doing the same things; those whose name begins with ``right``
    from the other side. The same arguments give the same bytes on the same machine.

    Parameters
    ----------
    raw : path
    subject, date, number : str
        date as ``YYYY-MM-DD``.
    cameras : sequence of str
    seed : int
        The animal: cameras look at the same one in all sessions of this seed. Cameras differ in
        noise, jitter and what lies behind.
    day : int
        What the animal does in this session.
    video : str
        See `write_video`: ``mjpeg``, ``rawvideo`` or ``h264``.
    records : sequence of str
        See `write_records`.
    ttl : str
        Where the cameras' pulses are: ``nidq``; ``npy``, a file
        ``_sluice_leftCamera.ttl.npy`` beside the video; or ``none``.
    gpio : bool
        What the cameras' pin saw is known on the session's clock: on a line of the nidq file, or
        as ``_sluice_gpio.times.tsv`` beside the video where `ttl` is not ``nidq``.
    wheel : bool
        There is a wheel.
    of_camera : dict of str to dict, optional
        Settings of one of the cameras only.
    **settings
        Of all cameras; see `sluice.synth.camera_settings.CameraSettings`. `duration_s` is that
        of the videos.

    Returns
    -------
    CameraSession

    Raises
    ------
    UserError
        Settings that contradict each other; an existing nidq file that is shorter than the
        videos.
    """
    _check_arguments(cameras, of_camera, video, ttl)
    folder = Path(raw) / subject / date / number
    scenes = make_scenes(cameras, seed=seed, day=day, of_camera=of_camera, **settings)
    video_folder = folder / "raw_video_data"
    video_folder.mkdir(parents=True, exist_ok=True)
    start_time = datetime.datetime.fromisoformat(f"{date}T12:00:00+00:00")
    files, truths = {}, {}
    for name, scene in scenes.items():
        files[name] = video_folder / f"_iblrig_{name}.raw{VIDEOS[video][1]}"
        write_video(scene, files[name], kind=video)
        write_records(scene, video_folder, name=name, start_time=start_time, records=records)
        truths[name] = folder / "truth" / name
        write_camera_truth(scene, truths[name])
    table = {n: {"sampling_rate_hz": s.settings.sampling_rate_hz} for n, s in scenes.items()}
    end_s = max(scene.end_s for scene in scenes.values()) + 0.5
    behavior = next(iter(scenes.values())).behavior
    if ttl == "nidq":
        pulses = _nidq_pulses(scenes, behavior, table, gpio)
        _write_nidq(folder / "raw_ephys_data", pulses, end_s, seed=(seed, day, 98), date=date)
    else:
        _write_pulse_files(video_folder, scenes, behavior, table, ttl, gpio)
    if wheel:
        write_wheel(folder / "raw_behavior_data", behavior, end_s)
        for row in table.values():
            row["wheel"] = "../raw_behavior_data"
    text = json.dumps(table, indent=1) + "\n"
    (video_folder / "cameras.json").write_text(text, encoding="utf-8")
    return CameraSession(f"{subject}/{date}/{number}", folder, files, truths, scenes)


def make_scenes(cameras, *, seed=0, day=0, of_camera=None, **settings):
    """Make the scenes of several cameras that look at one animal.

    Parameters
    ----------
    cameras : sequence of str
    seed, day : int
    of_camera : dict of str to dict, optional
        Settings of one of the cameras only.
    **settings
        Of all; see `sluice.synth.camera_settings.CameraSettings`.

    Returns
    -------
    dict of str to CameraScene
    """
    own = {}
    for k, name in enumerate(cameras):
        changes = {
            "is_mirrored": name.startswith("right"),
            **settings,
            **(of_camera or {}).get(name, {}),
        }
        own[name] = CameraSettings(**{"seed": (seed, k), "day": day, **changes})
    # long enough for each of them
    duration_s = max(s.start_s + s.duration_s for s in own.values())
    behavior = make_behavior((seed, day, 30), duration_s)
    return {name: make_camera_scene(settings=s, behavior=behavior) for name, s in own.items()}


def write_wheel(folder, behavior, end_s):
    """Write the wheel's position; see `write_camera_session`.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    behavior : Behavior
    end_s : float
        Of the record.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    times_s = np.arange(0, end_s, 1 / WHEEL_RATE_HZ)
    np.save(folder / "_ibl_wheel.timestamps.npy", times_s)
    np.save(folder / "_ibl_wheel.position.npy", behavior.wheel_rad(times_s))


def _check_arguments(cameras, of_camera, video, ttl):
    if not 1 <= len(cameras) <= len(TTL_LINES) or len(set(cameras)) < len(cameras):
        raise UserError(
            f"cameras {', '.join(cameras) or 'none'}: expected 1 to {len(TTL_LINES)} different ones"
        )
    unknown = set(of_camera or {}) - set(cameras)
    if unknown:
        raise UserError(f"settings of {', '.join(sorted(unknown))}: no such camera is asked for")
    if video not in VIDEOS:
        raise UserError(f"video {video!r}: expected {', '.join(VIDEOS)}")
    if ttl not in ("nidq", "npy", "none"):
        raise UserError(f"ttl {ttl!r}: expected nidq, npy, none")


def _nidq_pulses(scenes, behavior, table, gpio):
    """Pulses of the board's lines; where they are is added to the cameras' table."""
    pulses = {}
    for line, (name, scene) in zip(TTL_LINES, scenes.items(), strict=False):
        pulses[line] = scene.ttl_s, TTL_WIDTH_S
        table[name].update(ttl=NIDQ, ttl_line=line)
        if gpio:
            table[name].update(gpio_pin=GPIO_PIN, gpio_pulses=NIDQ, gpio_line=GPIO_LINE)
    if gpio:
        pulses[GPIO_LINE] = behavior.events_s[:, 0], np.diff(behavior.events_s)[:, 0]
    return pulses


def _write_nidq(folder, pulses, end_s, *, seed, date):
    """Put pulses into the session's nidq file, or make one."""
    path = folder / Path(NIDQ).name
    if path.is_file():
        spikeglx.add_pulses(path, pulses)
        return
    folder.mkdir(parents=True, exist_ok=True)
    create_time = f"{date}T12:00:00"
    spikeglx.write_nidq(
        folder, end_s, seed=seed, create_time=create_time, n_probes=0, pulses=pulses
    )


def _write_pulse_files(folder, scenes, behavior, table, ttl, gpio):
    """Write pulses beside the videos; where they are is added to the cameras' table."""
    if ttl == "npy":
        for name, scene in scenes.items():
            table[name]["ttl"] = f"_sluice_{name}.ttl.npy"
            np.save(folder / table[name]["ttl"], scene.ttl_s)
    if gpio:
        rows = ["time_s\tpolarity"]
        for start_s, stop_s in behavior.events_s.tolist():
            rows += [f"{start_s:.7f}\t1", f"{stop_s:.7f}\t-1"]
        path = folder / "_sluice_gpio.times.tsv"
        path.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")
        for row in table.values():
            row.update(gpio_pin=GPIO_PIN, gpio_pulses=path.name)
