"""`agentprm report`: a page, plots, and mistakes in one line."""

import json

import pytest

from agentprm.cli import main


@pytest.fixture
def run(capsys):
    """Run the verb; return exit code, standard output, standard error."""

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main(["report", *map(str, words)])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def path(store):
    return store.url.removeprefix("sqlite:///")


def test_a_page_is_written_where_it_is_asked_for(run, path, tmp_path):
    code, out, err = run(path, "-o", tmp_path / "page.html", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["episodes"], told["left_out"], told["path"]) == (4, 0, str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_by_default_it_is_called_report(run, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(path, "--limit", 1)
    assert "1 episodes, 3 left out" in out
    assert (tmp_path / "report.html").exists()


def test_plots_alone_write_no_page(run, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(path, "--plots", "plots", "--json")
    assert code == 0
    assert {"plots/calibration.png", "plots/calibration.svg"} <= set(json.loads(out)["plots"])
    assert not (tmp_path / "report.html").exists()


def test_filters_narrow_it(run, path, tmp_path):
    _, out, _ = run(path, "-o", tmp_path / "page.html", "--policy", "strong@2", "--json")
    assert json.loads(out)["episodes"] == 1


MISTAKES = {
    "no store": (("{path}.none",), 1, "there is no database"),
    "nobody's scores": (("{path}", "--scorer", "nobody"), 1, "there are"),
    "no folder": (("{path}", "-o", "{path}.none/page.html"), 1, "there is no folder"),
    "no number": (("{path}", "--limit", "0"), 2, "--limit"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(run, path, mistake):
    words, expected, hint = MISTAKES[mistake]
    code, out, err = run(*(word.format(path=path) for word in words))
    assert code == expected
    assert hint in err
    assert "Traceback" not in out + err
