"""The tree of errors: each is ours, is a standard-library type, is in the drawing, and survives a process."""

import pickle

import pytest

from agentprm import errors

STANDARD = {
    "InvalidTrajectory": ValueError,
    "InvalidScores": ValueError,
    "InvalidSpec": ValueError,
    "UnknownName": LookupError,
    "SightError": TypeError,
    "UnitError": ValueError,
    "MissingText": ValueError,
    "MissingExtra": ImportError,
    "StoreError": RuntimeError,
    "NotOurDatabase": errors.StoreError,
    "NewerDatabase": errors.StoreError,
    "OutdatedDatabase": errors.StoreError,
    "StoreClosed": errors.StoreError,
    "NoSuchTrajectory": LookupError,
    "TrainingError": ValueError,
    "RemoteError": RuntimeError,
    "Unreachable": ConnectionError,
    "BadAnswer": ValueError,
    "ModelChanged": RuntimeError,
}


@pytest.mark.parametrize(("name", "base"), STANDARD.items())
def test_every_error_is_ours_and_a_standard_one(name, base):
    error = getattr(errors, name)
    assert issubclass(error, errors.AgentPRMError)
    assert issubclass(error, base)


def test_every_error_is_in_the_drawing_with_its_standard_type():
    assert set(errors.__all__) >= {"AgentPRMError", *STANDARD}
    for name in errors.__all__:
        assert f" {name}" in errors.__doc__ or name == "AgentPRMError"
    for name, base in STANDARD.items():
        if base is not errors.StoreError:
            (line,) = (line for line in errors.__doc__.splitlines() if f" {name} " in line)
            assert f"({base.__name__})" in line


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_survive_a_process_border(name):
    error = getattr(errors, name)
    made = error("models", "torch") if name == "MissingExtra" else error("a message")
    copy = pickle.loads(pickle.dumps(made))
    assert type(copy) is error
    assert str(copy) == str(made)


def test_a_missing_extra_names_its_package_and_the_way_out():
    error = errors.MissingExtra("models", "torch")
    assert "torch" in str(error)
    assert "pip install 'agentprm[models]'" in str(error)
    assert (error.extra, error.package) == ("models", "torch")
