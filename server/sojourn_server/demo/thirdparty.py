"""All that the demo takes from minigrid, imported in one place: without the extra, one clear error says what to do."""

from __future__ import annotations

import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # minigrid imports pygame, which greets on stdout

try:
    from minigrid.core.actions import Actions
    from minigrid.envs import babyai as levels
    from minigrid.utils.baby_ai_bot import (
        BabyAIBot,
        CloseSubgoal,
        DisappearedBoxError,
        DropSubgoal,
        GoNextToSubgoal,
        OpenSubgoal,
        PickupSubgoal,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed; the demo needs the extra: pip install 'sojourn[demo]'", name=error.name
    ) from error

__all__ = [
    "Actions",
    "BabyAIBot",
    "CloseSubgoal",
    "DisappearedBoxError",
    "DropSubgoal",
    "GoNextToSubgoal",
    "OpenSubgoal",
    "PickupSubgoal",
    "levels",
]
