"""Delivery: ALF files."""
