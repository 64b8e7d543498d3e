"""The six scripted models in ScienceWorld: names, prices and tokens as in the demo, skills by ScienceWorld's phases.

Again nobody is best at everything, and the strongest is the best at nothing. The six alone are calibrated to the shape
of the paper's table (order and ratios of scores); the skills are ours, and nothing is claimed about real models.
"""

from __future__ import annotations

from dataclasses import replace

from sojourn_server.demo.models import MODELS as DEMO_MODELS

PHASES = ("looking", "travelling", "handling", "operating")

SKILLS = {
    "scripted-large-a": (0.66, 0.60, 0.60, 0.62),
    "scripted-medium-b": (0.92, 0.38, 0.38, 0.50),
    "scripted-medium-c": (0.33, 0.34, 0.33, 0.35),
    "scripted-medium-d": (0.33, 0.34, 0.30, 0.94),
    "scripted-small-e": (0.33, 0.32, 0.93, 0.32),
    "scripted-small-f": (0.42, 0.88, 0.35, 0.32),
}
"""Probability of doing the right thing, in the order of `PHASES`."""

MODELS = tuple(replace(model, skills=dict(zip(PHASES, SKILLS[model.name], strict=True))) for model in DEMO_MODELS)
BY_NAME = {model.name: model for model in MODELS}
