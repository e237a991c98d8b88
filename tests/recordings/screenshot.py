"""Makes the picture in the README from a recording. ``make screenshot`` runs it.

python -m tests.recordings.screenshot [FILE.svg]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

RECORDING, FRAMES, SIZE = "busy-4-interactive", 40, (120, 40)
PICTURE = Path(__file__).parents[2] / "docs" / "screenshot.svg"


def main(names: list[str]) -> None:
    """Write the picture; the user's settings, colours and time zone have no part in it."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(TZ="UTC", SCHEDTUI_ASCII="0", XDG_CONFIG_HOME=home, XDG_DATA_HOME=home, XDG_CACHE_HOME=home)
        os.environ.pop("NO_COLOR", None)
        time.tzset()
        svg = asyncio.run(picture())
    file = Path(names[0]) if names else PICTURE
    file.write_text(svg)
    print(f"{file}: {len(svg) >> 10} KB")


async def picture() -> str:
    """The dashboard after the recording's last frame, as SVG."""
    from tests.recordings.pictures import Pictured

    app = Pictured(RECORDING, FRAMES)
    try:
        async with app.run_test(size=SIZE) as pilot:
            await app.played(pilot)
            return app.export_screenshot(simplify=True)
    finally:
        app.close_machines()


if __name__ == "__main__":
    main(sys.argv[1:])
