"""Notebooks that run in forks of one process that has imported what takes long, each behind a wall of its own.

`zygote` is that process, `kernel` what it forks: IPython's kernel, spoken to over pipes. `zygotes` and `notebook` are
the other side, outside those walls: they hand a fork one cell after the other, and write down what came of each.
"""
