"""A folder of one plane as suite2p writes it, for its GUI and for readers of its format."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.ophys.suite2p_settings import import_suite2p, suite2p_settings
from sluice.ophys.suite2p_traces import deconvolve, extract

logger = logging.getLogger(__name__)

PLANE_FOLDER = "plane0"


def export_suite2p_file(
    *,
    registered,
    info,
    registration,
    images,
    detection,
    rois,
    stat,
    folder,
    final_folder,
    settings,
    register_settings,
    device,
):
    """Write ``plane0`` of a folder ``suite2p``.

    ``stat``, ``iscell``, ``F``, ``Fneu``, ``spks``, ``ops``, ``db``, ``settings``,
    ``reg_outputs``, ``detect_outputs`` (npy) and ``data.bin``. Traces and spikes are suite2p's
    own; those of this workflow (demixed, with a fitted neuropil share) are elsewhere.
    ``data.bin`` is the registered movie itself where both lie on one file system (a hard
    link): suite2p must not register it again.

    Traces and images are intensities as recorded. ``data.bin`` and `refImg`, which belongs to
    it, are stored values, from which unsigned and floating point movies differ: intensity =
    stored * scale + offset, in ``ops`` as `sluice_scale` and `sluice_offset`. A trace that
    suite2p's GUI or its `extraction` makes anew from ``data.bin`` is in stored values, and so
    are the pixel weights `lam`.

    Differences from a folder of suite2p's: no dates, so that the same input gives the same
    bytes; paths are absolute and of `final_folder`. Without a ROI the files are there and empty;
    suite2p's GUI does not open that.

    Parameters
    ----------
    registered : path
        ``registered.bin``.
    info : PlaneInfo
    registration, images : path
        ``registration.npz`` and ``images.npz`` of `register_plane`.
    detection, rois, stat : path
        ``detection.npz``, ``rois.pqt`` and ``stat.npy`` of `segment_plane`.
    folder : path
        ``suite2p``, which suite2p's GUI opens as a whole; made, with ``plane0`` in it, whose
        files are replaced.
    final_folder : path
        Where `folder` will stand when all is written.
    settings : dict
        ``ophys.segment_plane``.
    register_settings : dict
        ``ophys.register_plane``, which the folder says how the movie was registered with.
    device : str
        ``cpu`` or ``cuda``.
    """
    import_suite2p()
    place = Path(folder) / PLANE_FOLDER
    place.mkdir(parents=True, exist_ok=True)
    filled = suite2p_settings(settings, info, device=device)
    filled["registration"].update(_registration_settings(register_settings))
    with np.load(registration) as file:
        filled["registration"]["block_size"] = file["block_size"].tolist()
    # pickled by `segment_plane`
    found = np.load(stat, allow_pickle=True)
    traces, neuropil = extract(found, registered, info, filled=filled, device=device)
    spikes = deconvolve(traces, neuropil, filled=filled, device=device)
    probability = pd.read_parquet(rois)["soma_probability"].to_numpy(float)
    db = _db(Path(final_folder).absolute() / PLANE_FOLDER, info)
    outputs = _registration_outputs(registration, images, info)
    detected = _detection_outputs(detection, outputs, filled)

    arrays = {
        "stat": found,
        "iscell": np.stack([probability > 0.5, probability], 1).astype(float),
        "F": traces,
        "Fneu": neuropil,
        "spks": spikes,
        "zcorr": np.zeros(0),
        "db": db,
        "settings": filled,
        "reg_outputs": outputs,
        "detect_outputs": detected,
        "ops": {
            **db,
            **filled,
            **outputs,
            **detected,
            "sluice_scale": info.scale,
            "sluice_offset": info.offset,
        },
    }
    for name, value in arrays.items():
        np.save(place / f"{name}.npy", value, allow_pickle=True)
    _link(registered, place / "data.bin")
    logger.info("%d ROIs in %s", len(found), place)


def _link(source, target):
    """Hard link a file, or copy it where that cannot be."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        logger.info("%s is copied: %s", target.name, error)
        shutil.copyfile(source, target)


def _registration_settings(settings):
    """suite2p's names of the settings of `register_plane`."""
    return {
        "nonrigid": settings["nonrigid"],
        "nimg_init": settings["reference_frames"],
        "maxregshift": settings["max_shift_fraction"],
        "maxregshiftNR": settings["max_nonrigid_px"],
        "smooth_sigma": settings["smooth_sigma_px"],
        "spatial_taper": settings["taper_px"],
        "norm_frames": settings["clip_intensity"],
        "snr_thresh": settings["nonrigid_snr"],
        "do_bidiphase": settings["fix_bidirectional_phase"],
        "th_badframes": settings["bad_frame_ratio"],
    }


def _db(place, info):
    """suite2p's database entry of the plane."""
    db = import_suite2p().default_db()
    db.update(
        data_path=[str(place)],
        save_path0=str(place.parents[1]),
        save_folder=place.parent.name,
        fast_disk=str(place.parents[1]),
        save_path=str(place),
        reg_file=str(place / "data.bin"),
        nframes=info.n_frames,
        Ly=info.height,
        Lx=info.width,
        iplane=0,
    )
    return db


def _registration_outputs(registration, images, info):
    """suite2p's outputs of registration; but for `refImg`, images are as recorded."""
    from suite2p.registration import highpass_mean_image

    with np.load(images) as file:
        mean, reference = file["mean"], file["reference"]
    outputs = {
        "refImg": np.rint((reference - info.offset) / info.scale).astype(np.int16),
        "meanImg": mean,
        "meanImgE": highpass_mean_image(mean),
    }
    with np.load(registration) as file:
        outputs["yrange"] = [int(n) for n in file["yrange"]]
        outputs["xrange"] = [int(n) for n in file["xrange"]]
        outputs["badframes"] = file["is_bad"]
        outputs["badframes0"] = file["is_missing"]
        outputs["bidiphase"] = int(file["bidiphase"])
        for name in ("yoff", "xoff", "corrXY"):
            outputs[name] = file[name]
        if file["yoff1"].shape[1]:
            outputs["yoff1"], outputs["xoff1"] = file["yoff1"], file["xoff1"]
    return outputs


def _detection_outputs(detection, outputs, filled):
    """suite2p's outputs of detection: images of what was searched, and the diameter."""
    crop = slice(*outputs["yrange"]), slice(*outputs["xrange"])
    with np.load(detection) as file:
        return {
            "Vcorr": file["correlation"][crop],
            "max_proj": file["max_projection"][crop],
            "meanImg_crop": outputs["meanImg"][crop],
            "diameter": np.array(filled["diameter"]),
        }
