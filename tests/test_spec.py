"""Names to scorers and back: short forms, dicts, folders, plug-ins, and what each place lets in."""

import json
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

from agentprm import spec as specs
from agentprm.errors import InvalidSpec, SightError, UnknownName
from agentprm.scorers.constant import Constant
from agentprm.spec import as_action_scorer, as_live_scorer, find, load_scorer, make, names, parse, register, resolve
from agentprm.types import ActionScorer, LiveScorer, Scorer, Scores, Spec


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Forget what a test registers."""
    monkeypatch.setattr(specs, "_registered", dict(specs._registered))


@dataclass(frozen=True)
class Hindsight:
    """Sees the whole episode."""

    unit: ClassVar[str] = "value"
    sees: ClassVar[str] = "episode"
    spec: ClassVar[Spec] = Spec("hindsight")

    def __call__(self, trajectories, /):
        return [Scores(t.id, self.spec, "value", (1.0,) * len(t)) for t in trajectories]


@dataclass(frozen=True)
class Watching(Hindsight):
    sees: ClassVar[str] = "result"
    spec: ClassVar[Spec] = Spec("watching")


@dataclass(frozen=True)
class Mean:
    """Made of others."""

    scorers: list
    labels: tuple = ()
    unit: ClassVar[str] = "value"
    sees: ClassVar[str] = "action"

    @property
    def spec(self):
        return Spec("mean", {"scorers": [s.spec for s in self.scorers], "labels": list(self.labels)})

    def __call__(self, trajectories, /):
        return []


class Weighty:
    """A model in a folder."""

    unit, sees = "value", "action"

    def __init__(self, folder, weights):
        self.spec = Spec("weighty", {"folder": str(folder), "weights": weights})

    def __call__(self, trajectories, /):
        return []

    def save(self, folder):
        Path(folder).mkdir()
        form = {"name": "weighty", "weights": self.spec.params["weights"]}
        Path(folder, "scorer.json").write_text(json.dumps(form))

    @classmethod
    def load(cls, folder):
        return cls(folder, json.loads(Path(folder, "scorer.json").read_text())["weights"])


# Short forms.


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("constant", "constant", {}),
        ("constant:", "constant", {}),
        ("constant:value=0.5", "constant", {"value": 0.5}),
        (" constant : value = 0.5 , unit = reward ", "constant", {"value": 0.5, "unit": "reward"}),
        ("x:a=true,b=null,c=3,d=text,e=", "x", {"a": True, "b": None, "c": 3, "d": "text", "e": ""}),
        ("x:a=b=c", "x", {"a": "b=c"}),
        ('x:a="1"', "x", {"a": "1"}),
    ],
)
def test_short_form_is_read(text, name, params):
    assert parse(text).plain() == {"name": name, "params": params}


@pytest.mark.parametrize("text", ["x:a", "x:=1", "x:a b=1", "x:a=[1,2]"])
def test_short_form_that_is_none_is_refused(text):
    with pytest.raises(InvalidSpec, match="expected name:key=value,key=value"):
        parse(text)


# Making.


@pytest.mark.parametrize(
    "form",
    [
        "constant:value=0.25",
        Spec("constant", {"value": 0.25}),
        {"name": "constant", "params": {"value": 0.25}},
        Constant(0.25),
    ],
    ids=["text", "spec", "dict", "scorer"],
)
def test_every_form_makes_the_same_scorer(form):
    scorer = make(form)
    assert scorer == Constant(0.25)
    assert make(scorer) is scorer
    assert make(json.loads(scorer.spec.to_json())) == scorer


def test_specs_nest():
    register("mean")(Mean)
    mean = Mean([Constant(0.25), Mean([Constant(0.5)], ("a",))], ("b",))
    remade = make(json.loads(mean.spec.to_json()))
    assert isinstance(remade, Mean)
    assert remade.scorers[0] == Constant(0.25)
    assert remade.scorers[1].scorers == [Constant(0.5)]
    assert remade.spec == mean.spec


@pytest.mark.parametrize(
    ("form", "error", "match"),
    [
        ("constnat", UnknownName, "no scorer or label method is called 'constnat' .did you mean 'constant'"),
        ("x" * 5000, UnknownName, "no scorer or label method"),
        ("a\0b", UnknownName, "no scorer or label method"),
        ("os.path", UnknownName, "no scorer or label method"),
        ("models/unlock", UnknownName, "no folder 'models/unlock' here, nor a scorer of that name; there are .*hashed"),
        ("./model", UnknownName, "no folder './model' here"),
        ("~/model", UnknownName, "no folder '~/model' here"),
        ("models/unlock:v=2", UnknownName, "no folder 'models/unlock:v=2' here"),
        ("constant:colour=1", InvalidSpec, "constant cannot be made from {'colour': 1}: .*colour"),
        ({"name": "constant", "colour": 1}, InvalidSpec, "a scorer as a dict is"),
        ({"params": {}}, InvalidSpec, "a scorer as a dict is"),
        ({"name": "constant", "params": [1]}, InvalidSpec, "a scorer as a dict is"),
        ({"live": "<lambda>"}, InvalidSpec, "a live <lambda> was recorded here"),
        ({"name": "constant", "params": {"weights": "abc"}}, InvalidSpec, "never saved"),
        (Path("nowhere"), InvalidSpec, "nowhere is no model's folder: there is no such folder here"),
        (Path("models/unlock"), InvalidSpec, "models.unlock is no model's folder: there is no such folder here"),
        ("", InvalidSpec, "is no model's folder"),
        (Constant, InvalidSpec, r"Constant is a class: give an object of it, such as Constant\(\)"),
        (0.5, InvalidSpec, "not float"),
        (print, InvalidSpec, "not builtin_function_or_method"),
    ],
)
def test_what_makes_no_scorer_is_refused_with_the_way_out(form, error, match, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=match):
        make(form)


# Registration.


def test_a_registered_class_is_found_under_its_name():
    register("hindsight")(Hindsight)
    assert find("hindsight") is Hindsight
    assert "hindsight" in names()
    assert make("hindsight") == Hindsight()


def test_a_name_belongs_to_one_class_but_may_be_registered_again():
    register("hindsight")(Hindsight)
    again = type("Hindsight", (Hindsight,), {"__module__": Hindsight.__module__, "__qualname__": "Hindsight"})
    register("hindsight")(again)
    assert find("hindsight") is again, "as when a notebook's cell is run twice"
    with pytest.raises(InvalidSpec, match=r"'hindsight' is .*Hindsight already"):
        register("hindsight")(Watching)


@pytest.mark.parametrize("name", ["my-scorer", "a.b", "", "1st"])
def test_a_name_is_an_identifier(name):
    with pytest.raises(InvalidSpec, match="is an identifier"):
        register(name)


def test_names_are_those_of_our_files_without_the_private_ones():
    assert "constant" in names()
    assert names() == sorted(names())
    assert not [name for name in names() if name.startswith("_")]


def test_another_package_names_its_scorers_by_entry_point(monkeypatch, tmp_path):
    (tmp_path / "their_package.py").write_text("from agentprm.scorers.constant import Constant as Theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("theirs", "their_package:Theirs", "agentprm.scorers")
    monkeypatch.setattr(specs, "entry_points", lambda group: [point] if group == "agentprm.scorers" else [])
    specs._plugins.cache_clear()
    try:
        assert "theirs" in names()
        assert make("theirs:value=0.5") == Constant(0.5)
    finally:
        specs._plugins.cache_clear()
        sys.modules.pop("their_package", None)


def test_an_error_inside_a_scorers_file_is_not_taken_for_an_unknown_name(monkeypatch, tmp_path):
    (tmp_path / "broken_scorer.py").write_text("import no_such_module_at_all\n")
    import agentprm.scorers

    monkeypatch.setattr(agentprm.scorers, "__path__", [*agentprm.scorers.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        find("broken_scorer")


# Folders.


def test_a_folder_is_read_back_by_name_path_text_and_spec(tmp_path):
    register("weighty")(Weighty)
    folder = tmp_path / "model"
    Weighty(folder, "w1").save(folder)
    for form in (folder, str(folder), Spec("weighty", {"folder": str(folder), "weights": "w1"})):
        assert make(form).spec.params["weights"] == "w1"
    assert load_scorer(folder).spec == make(folder).spec


def test_a_folder_that_now_holds_other_weights_is_refused(tmp_path):
    register("weighty")(Weighty)
    folder = tmp_path / "model"
    Weighty(folder, "w2").save(folder)
    with pytest.raises(InvalidSpec, match=r"other weights \(w2\) than the recorded ones \(w1\)"):
        make(Spec("weighty", {"folder": str(folder), "weights": "w1"}))


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b'{"name": null}', b"\xff", b'"constant"'])
def test_a_folder_without_a_readable_name_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "scorer.json").write_bytes(content)
    with pytest.raises((InvalidSpec, UnknownName)):
        load_scorer(tmp_path)


def test_a_folder_that_names_what_has_no_weights_is_refused(tmp_path):
    (tmp_path / "scorer.json").write_text('{"name": "constant"}')
    with pytest.raises(InvalidSpec, match="no weights to load"):
        load_scorer(tmp_path)


# Sight.


def test_only_a_live_scorer_may_pay_and_only_an_action_scorer_may_choose():
    assert as_live_scorer(Watching()) == Watching()
    assert as_action_scorer("constant") == Constant()
    for place in (as_live_scorer, as_action_scorer):
        with pytest.raises(SightError, match=r"hindsight sees the (whole )?episode"):
            place(Hindsight())
    with pytest.raises(SightError, match="watching sees the result"):
        as_action_scorer(Watching())


def test_protocols_recognise_a_scorer_by_what_it_has():
    assert isinstance(Constant(), Scorer)
    assert isinstance(Constant(), LiveScorer)
    assert isinstance(Constant(), ActionScorer)
    assert not isinstance(print, Scorer)


# References.


def test_a_reference_is_what_it_names():
    assert resolve("json:loads") is json.loads
    assert resolve("agentprm.scorers.constant:Constant") is Constant


@pytest.mark.parametrize("reference", ["json", "no_module_here:f", "json:nothing", ":f", "..x:f", "a b:c", ""])
def test_a_reference_to_nothing_is_refused(reference):
    with pytest.raises(InvalidSpec, match=r"is no function|cannot be imported"):
        resolve(reference)
