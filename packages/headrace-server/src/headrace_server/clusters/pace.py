"""How much of Slurm's time the watch may take. Tests shorten the times; the proportions stay."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Limits of one watch. Times in seconds."""

    sweep_s: float = 1.0
    """At most one sweep in this time."""
    sweep_share: float = 0.25
    """At most this share of the time is spent in sweeps: where one takes long, they come more rarely."""
    patience_s: float = 3.0
    """A sweep that takes longer than this, and than five usual ones, makes the cluster unreachable while it is waited
    for: with slurmctld away slurmrestd holds the request for 10 s (26.05) or until it is back."""
    sweep_timeout_s: float = 25.0
    backoff_most_s: float = 5.0
    dump_every_s: float = 60.0
    dump_share: float = 0.2
    """A full dump is made when the details of more than this share of all jobs are out of date."""
    dump_timeout_s: float = 120.0
    details_per_sweep: int = 32
    """Records whose details are asked for after one sweep (one more request is made for an array larger than that)."""
    details_at_once: int = 4
    details_wait_s: float = 0.3
    """How long a new snapshot waits for the details of what changed."""
    details_timeout_s: float = 20.0
    array_records_per_s: float = 50.0
    """A large array's details are asked for no oftener than this many of its records a second."""
    rotation_per_sweep: int = 4
    """Details of unchanged, unfinished jobs that are refreshed after one sweep: reasons and start estimates move."""
    rotation_after_s: float = 15.0
    unexplained_s: float = 3.0
    """After this time a pending job without a reason is looked at again."""
    nodes_s: float = 5.0
    partitions_s: float = 15.0
    resources_whole_s: float = 60.0
    """After this time nodes and partitions are read without asking what changed: loads change unannounced."""
