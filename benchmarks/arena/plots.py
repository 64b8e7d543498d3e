"""The arena's plots, as SVG files that are the same for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from benchmarks.arena.measures import Row

matplotlib.rcParams.update({"svg.hashsalt": "sojourn", "figure.figsize": (8, 4.5), "font.size": 9})
CURVES = ("sojourn-warm", "sojourn-cold", "heuristic", "per-turn", "router-r1-like", "mtrouter-like", "phase-oracle")


def learning_curves(policies: Mapping[str, Row], path: Path, *, episodes: int) -> None:
    """Mean utility over seeds, block by block."""
    figure, axes = pyplot.subplots()
    for name in CURVES:
        if name in policies:
            curve = policies[name].learning_curve
            ends = [episodes * (block + 1) / len(curve) for block in range(len(curve))]
            axes.plot(ends, curve, label=name, linewidth=2.2 if name.startswith("sojourn") else 1.2)
    axes.set_xlabel("episodes")
    axes.set_ylabel("utility of the block")
    axes.legend(loc="lower right", ncols=2)
    save(figure, path)


def money_against_score(policies: Mapping[str, Row], path: Path) -> None:
    """Score over USD per episode; up and to the left is better."""
    figure, axes = pyplot.subplots()
    for row in policies.values():
        usd, score = row.values["usd"], row.values["score"]
        marker = "o" if row.policy.startswith("sojourn") else "x" if row.policy.startswith("never") else "."
        axes.errorbar(usd.mean, score.mean, yerr=score.half_width, fmt=marker, capsize=2)
        axes.annotate(row.policy, (usd.mean, score.mean), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("USD per episode")
    axes.set_ylabel("score")
    save(figure, path)


def save(figure: object, path: Path) -> None:
    """Writes the current figure; no date, so that equal figures are equal files."""
    pyplot.tight_layout()
    pyplot.savefig(path, metadata={"Date": None})
    pyplot.close()
