"""The answers to credit questions as plots: one function per plot, from a table to matplotlib axes.

Each takes the table of its question and, if you have them, the axes to draw on, and returns the axes. They need
matplotlib: ``pip install 'agentprm[report]'``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from agentprm.credit.asking import ScorerForm
from agentprm.credit.gains import value_by_action
from agentprm.credit.policies import success as success_table
from agentprm.credit.report.overview import largest_drops, whose
from agentprm.credit.table import Table
from agentprm.credit.trust import agreement as agreement_table
from agentprm.credit.trust import calibration as calibration_table
from agentprm.credit.where import Where
from agentprm.errors import MissingExtra
from agentprm.store.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["actions", "agreement", "calibration", "drops", "promise", "save", "success"]

_ACCENT, _QUIET, _SANK = "#0b5fb0", "#8a94a0", "#b84300"
_MOST_BARS = 20


def calibration(table: Table, ax: Axes | None = None) -> Axes:
    """Return a reliability diagram of a `calibration` table: share of successes beside the mean score, per bin."""
    ax = _axes(ax, table)
    groups = dict.fromkeys(row.get("depth") for row in table)
    for group, style in zip(groups, ("-", "--", ":"), strict=False):
        rows = [row for row in table if row.get("depth") == group]
        x, y = [row["mean_score"] for row in rows], [row["success"] for row in rows]
        ax.errorbar(x, y, _spans(rows, "success"), fmt="o", ls=style, color=_ACCENT, ecolor=_QUIET, label=group)
    ax.plot([0, 1], [0, 1], color=_QUIET, lw=1, ls=(0, (4, 4)))
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="mean score", ylabel="share that succeeded")
    if len(groups) > 1:
        ax.legend(frameon=False)
    return ax


def drops(table: Table, ax: Axes | None = None) -> Axes:
    """Return a histogram of a `largest_drops` table: how deep the score fell, in failed and succeeded episodes."""
    ax = _axes(ax, table)
    lows, widths = [row["low"] for row in table], [(row["high"] - row["low"]) * 0.92 for row in table]
    failed, succeeded = [row["failed"] for row in table], [row["succeeded"] for row in table]
    ax.bar(lows, failed, widths, align="edge", color=_ACCENT, label="failed")
    ax.bar(lows, succeeded, widths, failed, align="edge", fill=False, edgecolor=_ACCENT, label="succeeded")
    ax.set(xlabel="largest drop in the episode", ylabel="episodes")
    ax.legend(frameon=False)
    return ax


def success(table: Table, ax: Axes | None = None) -> Axes:
    """Return the success of every policy of a `success` table, with its 95 % interval."""
    ax = _forest(table, "success", lambda row: f"{row['policy'] or '–'} ({row['env'] or '–'})", ax)
    ax.set(xlim=(0, 1), xlabel="share that succeeded, 95 % interval")
    return ax


def actions(table: Table, ax: Axes | None = None) -> Axes:
    """Return the mean change per action of a `value_by_action` table, with its 95 % interval where there is one."""
    ax = _forest(table, "mean_delta", lambda row: str(row["action"]), ax)
    ax.axvline(0, color=_QUIET, lw=1)
    ax.set(xlabel="mean change of the score, 95 % interval")
    return ax


def agreement(table: Table, ax: Axes | None = None) -> Axes:
    """Return the AUC of every summary in an `agreement` table, with its 95 % interval where there is one."""
    ax = _forest(table, "auc", lambda row: str(row["of"]), ax)
    ax.axvline(0.5, color=_QUIET, lw=1, ls=(0, (4, 4)))
    ax.set(xlim=(0, 1), xlabel="AUC, 95 % interval")
    return ax


def promise(table: Table, ax: Axes | None = None) -> Axes:
    """Return the curve of one episode from its `timeline` table, the step that lost most marked."""
    ax = _axes(ax, table)
    rows = [row for row in table if row["score"] is not None]
    ax.plot([row["step"] for row in rows], [row["score"] for row in rows], "o-", color=_ACCENT)
    falls = [row for row in rows if row["delta"] is not None and row["delta"] < 0]
    if falls:
        worst = min(falls, key=lambda row: (row["delta"], row["step"]))
        ax.plot(worst["step"], worst["score"], "v", ms=11, color=_SANK)
        words, place = f"step {worst['step']}: {worst['delta']:+.2f}", (worst["step"], worst["score"])
        ax.annotate(words, place, (8, 8), textcoords="offset points", color=_SANK)
    ax.set(xlabel="step", ylabel="score")
    return ax


def save(store: Store, folder: str | Path, scorer: ScorerForm = None, **where: Unpack[Where]) -> list[Path]:
    """Write every plot that the store has rows for into `folder`, as PNG and SVG; return the files."""
    figure = _figure()
    name = whose(store, scorer).label or None
    plots = {
        success: success_table(store, **where),
        agreement: agreement_table(store, name, **where),
        calibration: calibration_table(store, name, **where),
        drops: largest_drops(store, name, **where),
        actions: value_by_action(store, name, **where),
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for plot, table in plots.items():
        if len(table):
            page = figure(figsize=(7, 4.2), layout="constrained")
            plot(table, page.add_subplot())
            files = [Path(folder) / f"{plot.__name__}.{kind}" for kind in ("png", "svg")]
            for file in files:
                page.savefig(file, dpi=150)
            written += files
    return written


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("report", "matplotlib") from error
    return Figure


def _axes(ax: Axes | None, table: Table) -> Axes:
    # A figure of its own, outside of pyplot: no window, no global state, nothing to close.
    ax = ax if ax is not None else _figure()(figsize=(7, 4.2), layout="constrained").add_subplot()
    ax.set_title(table.title, loc="left", parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _forest(table: Table, of: str, name: Any, ax: Axes | None) -> Axes:
    """Return one point with its interval per row, the first row on top."""
    ax = _axes(ax, table)
    rows = [row for row in table if row[of] is not None][:_MOST_BARS]
    places = range(len(rows))
    values = [row[of] for row in rows]
    ax.errorbar(values, places, xerr=_spans(rows, of), fmt="o", color=_ACCENT, ecolor=_QUIET, capsize=3)
    ax.set_yticks(places, [_label(name(row)) for row in rows], parse_math=False)
    ax.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    return ax


def _label(text: str) -> str:
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= 40 else line[:39] + "…"


def _spans(rows: list[dict[str, Any]], of: str) -> list[list[float]]:
    """Return how far each interval reaches below and above; nothing where there is none."""
    below = [0.0 if row["low"] is None else max(0.0, row[of] - row["low"]) for row in rows]
    above = [0.0 if row["high"] is None else max(0.0, row["high"] - row[of]) for row in rows]
    return [below, above]
