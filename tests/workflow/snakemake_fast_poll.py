"""Run snakemake with the Slurm plugin asking every half second. For tests only.

The plugin waits ten seconds longer after each look in which no job ended, up to three
minutes, and offers no setting for it.
"""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(
    lambda self: 0.5, lambda self, value: None
)
sys.exit(main())
