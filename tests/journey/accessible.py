"""What axe-core finds serious (https://github.com/dequelabs/axe-core) in a part of a page that is ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page


def serious(page: Page, output: Locator) -> list[dict[str, Any]]:
    """The serious and critical findings in an output of ours; the lab around it is not ours.

    Args:
        page: the tab.
        output: what is looked at.
    """
    page.evaluate(Path(os.environ["LEERLAB_TEST_TOOLS"], "node_modules/axe-core/axe.min.js").read_text())
    found = output.evaluate("(element) => axe.run(element, {resultTypes: ['violations', 'passes']})")
    assert found["passes"], "axe looked at nothing"
    return [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
