"""Writes made-up probes as SpikeGLX does: `.ap.bin`, `.lf.bin`, `.nidq.bin` and `.meta`.

Clocks: the session's clock is the NI board's. Probe i runs `clock_ppm` parts per million
fast of its nominal rate and starts `clock_offset_s` before the board; the metas state the
nominal rates, as those of uncalibrated hardware do. An event at time t of the board is at
sample ``(t + clock_offset_s) * 30000 * (1 + clock_ppm * 1e-6)`` of the probe. A 1 Hz square
wave (rising edges at 0.5 s, 1.5 s, … of the board's time) is on line 3 of the board's digital
word and in bit 6 of the probe's sync channel.
"""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from sluice.errors import UserError
from sluice.synth import traces
from sluice.synth.layout import N_ACQUIRED, electrodes
from sluice.synth.probe import LF_EVERY, SAMPLING_RATE_HZ

RUN_NAME = "_spikeglx_ephysData"
NIDQ_RATE_HZ = 30003.0003
SYNC_LINE = 3
SYNC_BIT = 6


def write_probe(
    probe,
    folder,
    *,
    index=0,
    create_time="2026-01-15T12:00:00",
    clock_ppm=0.0,
    clock_offset_s=0.0,
    n_files=1,
    compress=False,
):
    """Write a probe's AP and LF bands.

    Parameters
    ----------
    probe : probe.Probe
    folder : Path
        Exists already; the files' names are SpikeGLX's, ``…_g0_t0.imec0.ap.bin`` and so on.
    index : int
        Number of the probe: ``imec0``.
    create_time : str
        `fileCreateTime` of the metas.
    clock_ppm, clock_offset_s : float
        See the module.
    n_files : int
        The run is split into this many files t0, t1, …, one following the other without gap.
    compress : bool
        Write ``.cbin`` and ``.ch`` (mtscomp) instead of ``.bin``.

    Returns
    -------
    files : list of Path
        The binary files.
    """
    folder = Path(folder)
    bounds = _file_bounds(probe.n_samples, n_files)
    bands = ["ap", "lf"] if probe.layout.probe_type.lf_gain else ["ap"]
    files = {
        (band, i): folder / f"{RUN_NAME}_g0_t{i}.imec{index}.{band}.bin"
        for i in range(n_files)
        for band in bands
    }
    hashes = {key: hashlib.sha1() for key in files}
    with ExitStack() as stack:
        handles = {key: stack.enter_context(path.open("wb")) for key, path in files.items()}
        start = 0
        for ap, lf in traces.make_chunks(probe):
            samples = start + np.arange(ap.shape[0])
            sync = _sync_word(samples, SAMPLING_RATE_HZ, clock_ppm, clock_offset_s)
            for band, block, every in (("ap", ap, 1), ("lf", lf, LF_EVERY)):
                if block is None:
                    continue
                frames = np.column_stack([block, sync[::every]])
                _write_split(frames, start // every, bounds, every, band, handles, hashes)
            start += ap.shape[0]
    for (band, i), path in files.items():
        _write_imec_meta(
            path,
            probe,
            band,
            index=index,
            first_sample=bounds[i][0] // (LF_EVERY if band == "lf" else 1),
            sha1=hashes[band, i].hexdigest().upper(),
            create_time=create_time,
        )
    if compress:
        return [_compress(path, probe, band) for (band, _), path in files.items()]
    return list(files.values())


def write_nidq(
    folder, duration_s, *, seed=0, create_time="2026-01-15T12:00:00", n_probes=1, pulses=None
):
    """Write the NI board's stream: one analogue channel (noise) and the digital word.

    Parameters
    ----------
    folder : Path
        Exists already.
    duration_s : float
    seed : int or sequence of int
    create_time : str
    n_probes : int
        `typeImEnabled` of the meta.
    pulses : dict of int to (array, array), optional
        Pulses on further digital lines; see `add_pulses`.

    Returns
    -------
    file : Path
    """
    path = Path(folder) / f"{RUN_NAME}_g0_t0.nidq.bin"
    n_samples = round(duration_s * NIDQ_RATE_HZ)
    rng = np.random.default_rng(seed)
    sha1 = hashlib.sha1()
    with path.open("wb") as handle:
        for start in range(0, n_samples, 30000):
            samples = np.arange(start, min(start + 30000, n_samples))
            high = _sync_is_high(samples / NIDQ_RATE_HZ)
            frames = np.empty((samples.size, 2), "<i2")
            frames[:, 0] = rng.integers(-3, 4, samples.size)
            frames[:, 1] = high.astype(np.int16) << SYNC_LINE
            data = frames.tobytes()
            sha1.update(data)
            handle.write(data)
    meta = {
        "acqMnMaXaDw": "0,0,1,1",
        "appVersion": "20230411",
        "fileCreateTime": create_time,
        "fileName": f"D:/{path.name}",
        "fileSHA1": sha1.hexdigest().upper(),
        "fileSizeBytes": path.stat().st_size,
        "fileTimeSecs": n_samples / NIDQ_RATE_HZ,
        "firstSample": 0,
        "gateMode": "Immediate",
        "nDataDirs": 1,
        "nSavedChans": 2,
        "niAiRangeMax": 5,
        "niAiRangeMin": -5,
        "niClockLine1": "Internal",
        "niMAGain": 1,
        "niMNGain": 200,
        "niMaxInt": 32768,
        "niMuxFactor": 1,
        "niSampRate": NIDQ_RATE_HZ,
        "niXAChans1": 0,
        "niXDBytes1": 1,
        "niXDChans1": "0:7",
        "snsMnMaXaDw": "0,0,1,1",
        "snsSaveChanSubset": "all",
        "syncNiChan": SYNC_LINE,
        "syncNiChanType": 0,
        "syncSourceIdx": 3,
        "syncSourcePeriod": 1,
        "trigMode": "Immediate",
        "typeImEnabled": n_probes,
        "typeNiEnabled": 1,
        "typeThis": "nidq",
        "userNotes": "",
        "~snsChanMap": "(0,0,1,1,1)(XA0;0:0)(XD0;1:1)",
    }
    _write_meta(path, meta)
    if pulses:
        add_pulses(path, pulses)
    return path


def add_pulses(path, pulses):
    """Put pulses on digital lines of a NI board's file; its meta keeps up.

    Parameters
    ----------
    path : Path
        ``.nidq.bin`` written by `write_nidq`.
    pulses : dict of int to (float array, float array)
        Digital line to the pulses' starts and widths, both in seconds of the board and of
        shape (n_pulses,), or one width for all. A line is high in the samples from the first at
        or after a start to the last before a stop. What was on the line before is replaced.

    Raises
    ------
    UserError
        The line is the sync's or none of the board's 8; a pulse lies outside the file.
    """
    frames = np.fromfile(path, "<i2").reshape(-1, 2)
    for line, (starts_s, widths_s) in pulses.items():
        if line == SYNC_LINE or not 0 <= line < 8:
            raise UserError(
                f"digital line {line}: expected one of 0 to 7 but {SYNC_LINE}, the sync"
            )
        starts_s = np.asarray(starts_s, np.float64)
        edges_s = np.stack([starts_s, starts_s + widths_s])
        edges = np.ceil(edges_s * NIDQ_RATE_HZ).astype(np.int64)
        if edges.size and not (edges.min() >= 0 and edges.max() < len(frames)):
            raise UserError(
                f"digital line {line}: pulses from {edges_s.min():g} to {edges_s.max():g} s do not "
                f"fit into the {len(frames) / NIDQ_RATE_HZ:g} s of {path}; make it longer"
            )
        steps = np.zeros(len(frames), np.int16)
        np.add.at(steps, edges[0], 1)
        np.add.at(steps, edges[1], -1)
        high = np.cumsum(steps, dtype=np.int16) > 0
        frames[:, 1] &= ~(1 << line)
        frames[:, 1] |= high.astype(np.int16) << line
    frames.tofile(path)
    meta = dict(
        row.split("=", 1) for row in path.with_suffix(".meta").read_text("utf-8").splitlines()
    )
    _write_meta(path, {**meta, "fileSHA1": hashlib.sha1(frames.tobytes()).hexdigest().upper()})


def _sync_is_high(time_s):
    """Square wave of 1 Hz with a rising edge at 0.5 s."""
    return np.mod(time_s - 0.5, 1.0) < 0.5


def _sync_word(samples, rate_hz, clock_ppm, clock_offset_s):
    """Sync channel of a probe at some of its samples."""
    board_s = samples / (rate_hz * (1 + clock_ppm * 1e-6)) - clock_offset_s
    return _sync_is_high(board_s).astype(np.int16) << SYNC_BIT


def _file_bounds(n_samples, n_files):
    """Split a run at whole LF samples."""
    edges = np.linspace(0, n_samples / LF_EVERY, n_files + 1).astype(int) * LF_EVERY
    edges[-1] = n_samples
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _write_split(frames, start, bounds, every, band, handles, hashes):
    """Write a block of frames into the files it belongs to."""
    for i, (first, last) in enumerate(bounds):
        first, last = -(-first // every), -(-last // every)
        part = frames[max(first - start, 0) : max(last - start, 0)]
        if part.size:
            data = part.astype("<i2", copy=False).tobytes()
            hashes[band, i].update(data)
            handles[band, i].write(data)


def _compress(path, probe, band):
    """Replace a binary file by mtscomp's pair."""
    import mtscomp

    mtscomp.compress(
        path,
        path.with_suffix(".cbin"),
        path.with_suffix(".ch"),
        sample_rate=SAMPLING_RATE_HZ / (LF_EVERY if band == "lf" else 1),
        n_channels=probe.layout.n_channels + 1,
        dtype=np.int16,
        check_after_compress=False,
        n_threads=1,
    )
    path.unlink()
    return path.with_suffix(".cbin")


def _write_meta(path, meta):
    lines = [f"{key}={value}" for key, value in meta.items()]
    path.with_suffix(".meta").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_imec_meta(path, probe, band, *, index, first_sample, sha1, create_time):
    """Write the `.meta` of an AP or LF file, with the keys of a real one."""
    layout, kind = probe.layout, probe.layout.probe_type
    rate_hz = SAMPLING_RATE_HZ / (LF_EVERY if band == "lf" else 1)
    n_saved = layout.n_channels + 1
    size = path.stat().st_size
    n_lf = N_ACQUIRED if kind.lf_gain else 0
    # acquired channels are numbered AP, LF, SY
    first = N_ACQUIRED if band == "lf" else 0
    sync = N_ACQUIRED + n_lf
    saved = layout.acquired + first
    meta = {
        "acqApLfSy": f"{N_ACQUIRED},{n_lf},1",
        "appVersion": "20230411",
        "fileCreateTime": create_time,
        "fileName": f"D:/{path.name}",
        "fileSHA1": sha1,
        "fileSizeBytes": size,
        "fileTimeSecs": size / (2 * n_saved) / rate_hz,
        "firstSample": first_sample,
        "gateMode": "Immediate",
        "imAiRangeMax": kind.range_v,
        "imAiRangeMin": -kind.range_v,
        "imCalibrated": "true",
        "imChan0apGain": kind.ap_gain,
        **({"imChan0lfGain": kind.lf_gain} if kind.lf_gain else {}),
        "imDatApi": "3.60",
        "imDatPrb_dock": 1,
        "imDatPrb_pn": kind.part_number,
        "imDatPrb_port": index + 1,
        "imDatPrb_slot": 2,
        "imDatPrb_sn": 18005110000 + index,
        "imDatPrb_type": kind.number,
        "imMaxInt": kind.max_int,
        "imSampRate": f"{rate_hz:g}",
        "imTrgRising": "true",
        "imTrgSource": 0,
        "nDataDirs": 1,
        "nSavedChans": n_saved,
        "snsApLfSy": f"0,{layout.n_channels},1" if band == "lf" else f"{layout.n_channels},0,1",
        "snsSaveChanSubset": _ranges([*saved, sync]),
        "syncImInputSlot": 2,
        "syncSourceIdx": 3,
        "syncSourcePeriod": 1,
        "trigMode": "Immediate",
        "typeImEnabled": 1,
        "typeNiEnabled": 1,
        "typeThis": "imec",
        "userNotes": "",
        "~imroTbl": _imro_table(kind),
        "~muxTbl": _mux_table(kind),
        "~snsChanMap": f"({N_ACQUIRED},{n_lf},1)"
        + "".join(f"({band.upper()}{c};{c + first}:{c + first})" for c in layout.acquired.tolist())
        + f"(SY0;{sync}:{sync})",
        "~snsGeomMap": _geometry_map(layout),
    }
    _write_meta(path, meta)


def _ranges(numbers):
    """Write ascending numbers as SpikeGLX does: ``0:47,768``."""
    numbers = np.asarray(numbers)
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return ",".join(f"{q[0]}:{q[-1]}" if q.size > 1 else f"{q[0]}" for q in parts)


def _imro_table(kind):
    """Electrode, reference and gains of all acquired channels."""
    shank, electrode = electrodes(kind)
    if kind.n_shanks == 1:
        # channel, bank, reference (external), AP gain, LF gain, AP high-pass on
        rows = [f"({c} 0 0 {kind.ap_gain} {kind.lf_gain} 1)" for c in range(N_ACQUIRED)]
    else:
        # channel, shank, bank, reference (external), electrode
        rows = [f"({c} {shank[c]} 0 0 {electrode[c]})" for c in range(N_ACQUIRED)]
    return f"({kind.number},{N_ACQUIRED})" + "".join(rows)


def _mux_table(kind):
    """Channels of each slot: those digitised at the same moment."""
    channel = np.arange(N_ACQUIRED)
    slot = (channel % kind.slots_channels) // 2
    rows = [" ".join(map(str, channel[slot == k])) for k in range(kind.n_slots)]
    return f"({N_ACQUIRED // kind.n_slots},{kind.n_slots})" + "".join(f"({r})" for r in rows)


def _geometry_map(layout):
    """Shank, x from the shank's left edge, y, and whether the contact is in use."""
    kind = layout.probe_type
    # the reference contact is not in use; x grows from the edge, not from a contact
    x_um = layout.x_um - layout.shank * kind.shank_pitch_um + kind.odd_row_um
    rows = [
        f"({s}:{x:g}:{y:g}:{int(a != kind.reference_channel)})"
        for s, x, y, a in zip(layout.shank, x_um, layout.y_um, layout.acquired, strict=True)
    ]
    return f"({kind.part_number},{kind.n_shanks},{kind.shank_pitch_um:g},70)" + "".join(rows)
