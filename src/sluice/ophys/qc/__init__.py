"""What `plane_qc` measures of a movie, one subject a module."""
