"""Two-photon movies: a module per rule over shared pieces."""
