"""Settings of the ophys stage."""

from sluice.settings.base import Section
from sluice.settings.movies import ImportPlane, PlaneQc, RegisterPlane, SegmentPlane
from sluice.settings.rois import Demix, Dff, Events, LabelRois, MatchCells, Neuropil


class Ophys(Section):
    """Two-photon movies."""

    import_plane: ImportPlane = ImportPlane()
    register_plane: RegisterPlane = RegisterPlane()
    segment_plane: SegmentPlane = SegmentPlane()
    demix: Demix = Demix()
    neuropil: Neuropil = Neuropil()
    dff: Dff = Dff()
    events: Events = Events()
    label_rois: LabelRois = LabelRois()
    plane_qc: PlaneQc = PlaneQc()
    match_cells: MatchCells = MatchCells()
