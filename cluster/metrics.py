"""Numbers for operators on the commands of Slurm that this process runs; in prometheus_client's registry.

Labels are names of programs and of outcomes, never anything of a job or a person. A command costs slurmctld from none
(`squeue --version`) to three remote procedure calls; `sdiag` counts those of everybody.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

COMMANDS = Counter(
    "leerlab_slurm_commands",
    "Commands of Slurm that were run, by what came of them: answered, failed (Slurm says no, or answers nothing), "
    "no-answer (not started, or killed after `cluster.interval.answer`).",
    ["command", "outcome"],
)
SECONDS = Histogram(
    "leerlab_slurm_command_seconds",
    "Seconds that commands of Slurm took, those without an answer too.",
    ["command"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
