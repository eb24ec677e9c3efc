"""Quality metrics of sorted units: Allen's, IBL's, and what they are computed on.

Every function is about one unit and takes that unit's spikes (`spike_trains`,
`refractory`, `amplitudes`, `drift`) or its spikes in principal component space
(`clusters`, `pc_space`). `columns` lists every column of ``metrics.pqt``.
"""
