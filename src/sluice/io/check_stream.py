"""What is wrong with a raw recording, found before anything runs."""

from pathlib import Path

from sluice.errors import InputError
from sluice.io import spikeglx
from sluice.io.check_spikeglx import check_spikeglx


def problem_of(stream):
    """Say why a recording cannot be read, from sizes and headers alone.

    Reads no data and imports nothing heavy: it is called for every stream whenever the
    workflow is planned (SpikeGLX: 0.2 ms for a probe with both bands, 2 ms if three hours of it
    are compressed; a movie: one header, 1 to 5 ms).

    Parameters
    ----------
    stream : sluice.session.Stream, Plane or Camera

    Returns
    -------
    str
        Empty if it can be read; else the problems, each with the file, what was found and
        expected, and what to do.
    """
    try:
        return " ".join(_problems(stream))
    except OSError as error:
        return f"{stream.path}: {error.strerror}; check the disk and the rights to read"


def _problems(stream):
    # imported where needed: SpikeGLX is checked without numpy
    if stream.kind == "plane":
        from sluice.io.check_plane import check_plane

        return check_plane(stream)
    if stream.kind == "camera":
        from sluice.io.check_camera import check_camera

        return check_camera(stream)
    if stream.format == "spikeglx":
        return check_spikeglx(stream.path, device=stream.stream_id, serial=stream.serial)
    if stream.format == "openephys":
        from sluice.io.openephys import check_openephys

        return check_openephys(
            stream.path,
            stream_id=stream.stream_id,
            serial=stream.serial,
            has_geometry=bool(stream.geometry),
        )
    if stream.format == "binary":
        from sluice.io.binary import check_binary

        return check_binary(stream)
    return [f"{stream.path}: format is {stream.format!r}; expected spikeglx, openephys or binary"]


def raw_files(stream):
    """List the files a recording is read from, both bands and headers included.

    Parameters
    ----------
    stream : sluice.session.Stream, Plane or Camera
        One that can be read (see `problem_of`).

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        It cannot be read.
    """
    if problem := problem_of(stream):
        raise InputError(problem)
    if stream.kind == "plane":
        from sluice.io.check_plane import plane_files

        return plane_files(stream)
    if stream.kind == "camera":
        from sluice.io.check_camera import camera_files

        return camera_files(stream)
    if stream.format == "spikeglx":
        return [
            path
            for band in spikeglx.BANDS
            for file in spikeglx.find_files(stream.path, band, device=stream.stream_id)
            for path in file.paths
        ]
    if stream.format == "openephys":
        from sluice.io.openephys import select

        bands = [select(stream.path, band, stream_id=stream.stream_id) for band in ("ap", "lf")]
        found = [path for s in bands if s for path in [*s.data, *s.headers, s.settings]]
        return [path for path in dict.fromkeys(found) if path.is_file()]
    geometry = [Path(stream.geometry)] if stream.geometry.endswith(".json") else []
    return [Path(stream.path), *geometry]
