"""Extracellular electrophysiology: one module per rule over shared pieces."""
