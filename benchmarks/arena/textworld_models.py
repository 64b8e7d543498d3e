"""The six scripted models in TextWorld: names, prices and tokens as in the demo, skills by TextWorld's hidden phases.

Again nobody is best at everything, and the strongest is the best at nothing: each phase has a cheaper specialist.
The skills are ours, made up; nothing is claimed about the real models whose list prices the scripted ones have.
"""

from __future__ import annotations

from dataclasses import replace

from sojourn_server.demo.models import MODELS as DEMO_MODELS

PHASES = ("moving", "gathering", "opening", "preparing")

SKILLS = {
    "scripted-large-a": (0.63, 0.62, 0.61, 0.63),
    "scripted-medium-b": (0.38, 0.92, 0.34, 0.36),
    "scripted-medium-c": (0.36, 0.36, 0.36, 0.94),
    "scripted-medium-d": (0.34, 0.40, 0.94, 0.36),
    "scripted-small-e": (0.92, 0.34, 0.30, 0.32),
    "scripted-small-f": (0.70, 0.54, 0.38, 0.40),
}
"""Probability of doing the right thing, in the order of `PHASES`."""

MODELS = tuple(replace(model, skills=dict(zip(PHASES, SKILLS[model.name], strict=True))) for model in DEMO_MODELS)
BY_NAME = {model.name: model for model in MODELS}
