"""The file that `jupyterhub -f` reads; everything it sets is derived from site.yaml in `hub_config.jupyterhub`."""

import os
from pathlib import Path

from base.paths import Installation, State
from hub_config.jupyterhub import configure
from hub_config.site import load

configure(
    get_config(),  # type: ignore[name-defined]  # noqa: F821  given by traitlets
    load(Path(os.environ["LEERLAB_SITE"])),
    State(Path(os.environ["LEERLAB_STATE"])),
    Installation.current(),
)
