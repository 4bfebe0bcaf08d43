"""Every plot draws what its table says."""

import pytest
from report_world import HOSTILE, MODEL

pytest.importorskip("matplotlib")

from agentprm.credit import agreement, calibration, plots, success, timeline, value_by_action
from agentprm.credit.report import largest_drops
from agentprm.credit.table import Table


def test_calibration_has_a_point_per_bin(store):
    table = calibration(store, MODEL)
    ax = plots.calibration(table)
    points = ax.lines[0].get_xydata().tolist()
    assert points == [[row["mean_score"], row["success"]] for row in table]
    assert ax.get_title(loc="left") == table.title


def test_calibration_by_depth_names_each_third(store):
    ax = plots.calibration(calibration(store, MODEL, by_depth=True))
    assert {text.get_text() for text in ax.get_legend().get_texts()} <= {"early", "middle", "late"}


def test_bars_stand_on_one_another(store):
    table = largest_drops(store, MODEL)
    ax = plots.drops(table)
    assert sum(bar.get_height() for bar in ax.patches) == table.n


@pytest.mark.parametrize(
    ("plot", "ask", "of"),
    [
        (plots.success, success, "success"),
        (plots.actions, value_by_action, "mean_delta"),
        (plots.agreement, agreement, "auc"),
    ],
    ids=["success", "actions", "agreement"],
)
def test_a_row_is_a_point(store, plot, ask, of):
    table = ask(store)
    ax = plot(table)
    drawn = ax.containers[0].lines[0].get_xdata().tolist()
    assert drawn == [row[of] for row in table if row[of] is not None][:20]


def test_the_sinking_step_is_marked(store, made):
    ax = plots.promise(timeline(store, made[0].id, MODEL))
    assert ax.lines[1].get_xydata().tolist() == [[2, 0.25]]
    assert ax.texts[0].get_text() == "step 2: -0.50"


def test_it_draws_on_the_axes_given(store):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plots.success(success(store), ax) is ax


def test_hostile_names_are_letters(tmp_path):
    rows = tuple((text, 10, 10, 0.1, 0.0, 0.2, None) for text in ["$\\frac{", *HOSTILE])
    table = Table("$x_", ("action", "n", "episodes", "mean_delta", "low", "high", "errors"), rows, "")
    ax = plots.actions(table)
    ax.figure.canvas.draw()
    assert len(ax.get_yticklabels()) == len(rows)


def test_an_empty_table_is_an_empty_plot():
    table = Table("Nothing", ("action", "n", "episodes", "mean_delta", "low", "high", "errors"), (), "")
    assert plots.actions(table).get_title(loc="left") == "Nothing"
