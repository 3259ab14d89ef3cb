"""What commands left that ran on a throwaway copy: `tries/ID/try.json` says whether anybody may come back to it."""

from __future__ import annotations

import json
import os


def left(control: str) -> list[str]:
    """Return the directories of tries that died: their records say `running`, or are not there."""
    place = os.path.join(control, "tries")
    return [f"tries/{name}" for name in sorted(os.listdir(place) if os.path.isdir(place) else ()) if _died(place, name)]


def _died(place: str, name: str) -> bool:
    try:
        with open(os.path.join(place, name, "try.json"), encoding="utf-8") as file:
            return bool(json.load(file)["state"] != "pending")
    except (OSError, ValueError, KeyError):
        return True
