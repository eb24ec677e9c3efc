"""What `camera_qc` checks, one subject a module; `registry` lists them by name."""
