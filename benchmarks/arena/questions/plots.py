"""Curves of an answer, as SVG files that are the same for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot

from benchmarks.arena.plots import save
from benchmarks.arena.questions.answers import Answer
from benchmarks.arena.questions.catalogue import Curve


def curves(question: str, curve: Curve, found: Mapping[str, Sequence[Answer]], folder: Path) -> list[Path]:
    """One picture per environment, or one for all; gives where they were put."""
    pictures = (
        {question: [row for answered in found.values() for row in answered]}
        if curve.is_joint
        else {f"{environment}-{question}": answered for environment, answered in found.items()}
    )
    paths = []
    for name, answered in pictures.items():
        paths.append(folder / f"{name}.svg")
        _draw(curve, [row for row in answered if row.line.series], paths[-1])
    return paths


def _draw(curve: Curve, answered: Sequence[Answer], path: Path) -> None:
    figure, panels = pyplot.subplots(1, len(curve.y), squeeze=False, figsize=(4.5 * len(curve.y) + 2, 4.2))
    for panel, measure in zip(panels[0], curve.y, strict=True):
        for series in dict.fromkeys(row.line.series for row in answered):
            rows = sorted((row for row in answered if row.line.series == series), key=lambda row: row.line.at or 0.0)
            x = [row.values[curve.x].mean if curve.x else row.line.at or 0.0 for row in rows]
            y = [row.values[measure] for row in rows]
            panel.errorbar(
                x, [v.mean for v in y], yerr=[v.half_width or 0.0 for v in y], marker="o", capsize=2, label=series
            )
            if curve.x:
                for place, row, value in zip(x, rows, y, strict=True):
                    label = f"{row.line.at:g}"
                    panel.annotate(label, (place, value.mean), xytext=(4, 4), textcoords="offset points", fontsize=7)
        if curve.is_log:
            panel.set_xscale("log")
        panel.set_xlabel(curve.x_label)
        panel.set_ylabel(measure.replace("_", " "))
    panels[0][0].legend()
    save(figure, path)
