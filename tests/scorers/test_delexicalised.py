"""A model that reads where the arguments of tool calls come from: the same for customers that it never saw."""

import pytest

from agentprm.errors import InvalidSpec, SightError, UnitError
from agentprm.scorers.delexicalised import Delexicalised
from agentprm.scorers.hashed import Hashed
from agentprm.spec import load_scorer
from agentprm.testing.scorer import ScorerContract, StepRewardModelContract
from agentprm.testing.trajectories import corridors, hostile
from agentprm.types import Action, Observation, Step, Task, ToolCall, Trajectory, new_id


def asked(town, river, answer, picked=None):
    """Who asks for a river: a search, a look-up of what it found, an answer."""
    found = f"{town}.txt: a town on the {river}\nelse.txt: a town on the sea"
    calls = (
        ToolCall("search", {"query": river}, output=found),
        ToolCall("read", {"path": picked or f"{town}.txt"}, output=f"{answer} people"),
    )
    steps = [Step(Observation(), Action(tool_calls=(call,))) for call in calls]
    steps.append(Step(Observation(), Action(f"There are {answer}.")))
    return Trajectory(new_id(), Task(f"how many live in the town on the {river}?"), tuple(steps), Observation())


class TestContract(StepRewardModelContract):
    def make_model(self):
        return Delexicalised(Hashed(buckets=512, crosses=512))

    def make_trajectories(self):
        return [*corridors(2), *hostile(), asked("linz", "danube", 200)]


class TestContractOfASavedOne(ScorerContract):
    @pytest.fixture(autouse=True)
    def _saved(self, tmp_path):
        self.folder = tmp_path / "saved"
        Delexicalised(Hashed(buckets=512, crosses=512, seed=1)).save(self.folder)

    def make_scorer(self):
        return load_scorer(self.folder)


def test_the_same_calls_about_other_things_have_the_same_value():
    model = Delexicalised(Hashed())
    one, two = model([asked("linz", "danube", 200), asked("bonn", "danube", 300)])
    assert one.values == two.values
    (other,) = model([asked("linz", "danube", 200, picked="else.txt")])
    assert other.values[1] != one.values[1]


def test_a_model_that_sees_results_or_gives_no_values_is_refused():
    class Later:
        sees, unit, spec = "result", "value", Hashed().spec

        def __call__(self, trajectories, /):
            return []

    with pytest.raises(SightError):
        Delexicalised(Later())
    Later.sees, Later.unit = "action", "correctness"
    with pytest.raises(UnitError):
        Delexicalised(Later())


def test_what_has_no_weights_cannot_be_trained():
    with pytest.raises(InvalidSpec, match="no weights"):
        Delexicalised("constant:value=0.5").parameters()
