"""Plots of recorded outcomes, drawn from the results file; as SVG files that are the same for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import pyplot

from benchmarks.arena.plots import save

POLICIES = (
    "sojourn-cold",
    "sojourn-warm",
    "paretobandit",
    "linucb",
    "thompson",
    "knn",
    "kind-oracle",
    "random-matched",
)
REGRET_WEIGHT = "200"

Section = Mapping[str, Any]


def gain_by_cost_weight(section: Section, path: Path, *, title: str) -> None:
    """Utility over the best single model's, in % of it, at each cost weight."""
    weights = section["cost_weights"]
    figure, axes = pyplot.subplots()
    for offset, name in enumerate(name for name in POLICIES if name in next(iter(weights.values()))):
        shares = [policies[name]["regret_share"] for policies in weights.values()]
        places = [place + (offset - 3.5) * 0.05 for place in range(len(weights))]
        means, widths = [-100 * mean for mean, _ in shares], [100 * (width or 0) for _, width in shares]
        axes.errorbar(places, means, yerr=widths, label=name, marker="o", markersize=3, capsize=2, linewidth=1)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_yscale("symlog", linthresh=5)
    axes.set_xticks(range(len(weights)), list(weights))
    axes.set_xlabel("cost weight (score per USD)")
    axes.set_ylabel("utility gained on the best single model, %")
    axes.set_title(title)
    axes.legend(ncols=2, fontsize=7)
    save(figure, path)


def regret(section: Section, path: Path, *, title: str) -> None:
    """Mean cumulative regret to the best single model along the pass, at one cost weight."""
    policies = section["cost_weights"].get(REGRET_WEIGHT) or next(iter(section["cost_weights"].values()))
    figure, axes = pyplot.subplots()
    for name in POLICIES:
        if name in policies:
            curve = policies[name]["regret_curve"]
            ends = [section["items"] * (step + 1) / len(curve) for step in range(len(curve))]
            axes.plot(ends, curve, label=name, linewidth=2.2 if name.startswith("sojourn") else 1.2)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("episodes")
    axes.set_ylabel("cumulative regret (utility)")
    axes.set_title(f"{title}, cost weight {REGRET_WEIGHT}")
    axes.legend(ncols=2, fontsize=7)
    save(figure, path)
