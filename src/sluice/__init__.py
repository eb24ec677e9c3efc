"""The science of the sluice workflow. Nothing here knows about Snakemake but `job`."""

__version__ = "0.1.0"
