"""Names to scorers and back: the file is the registration.

``@register("x")`` above a class in ``scorers/x.py`` or ``labels/x.py`` is all it takes; other packages name theirs in
the entry point groups ``agentprm.scorers`` and ``agentprm.labels``.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, cast

from agentprm.errors import InvalidSpec, SightError, UnknownName
from agentprm.suggest import did_you_mean
from agentprm.types import ActionScorer, LiveScorer, Scorer, Spec

__all__ = ["as_action_scorer", "as_live_scorer", "load_scorer", "make", "names", "parse", "register", "resolve"]

CONFIG = "scorer.json"
"""The file in a model's folder that says what it is."""

_SEPARATOR = re.compile(r"[/\\]")
_GROUPS = ("agentprm.scorers", "agentprm.labels")
_registered: dict[str, type] = {}
T = TypeVar("T", bound=type)


def register(name: str) -> Callable[[T], T]:
    """Give a class the name under which specs, folders and the command line find it.

    Raises InvalidSpec when another class has it already.
    """
    if not name.isidentifier():
        raise InvalidSpec(f"a scorer's name is an identifier, such as 'my_scorer', not {name!r}")

    def add(cls: T) -> T:
        other = _registered.setdefault(name, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidSpec(f"{name!r} is {other.__module__}.{other.__qualname__} already: choose another name")
        _registered[name] = cls
        return cls

    return add


def names() -> list[str]:
    """Return every name that `make` knows, sorted."""
    ours = (m.name for group in _GROUPS for m in pkgutil.iter_modules(importlib.import_module(group).__path__))
    return sorted({*_registered, *(n for n in ours if not n.startswith("_")), *_plugins()})


def find(name: str) -> Any:
    """Return the class registered as `name`; raises UnknownName listing the names there are."""
    if name not in _registered:
        if name in _plugins():
            _registered[name] = _plugins()[name].load()
        elif name.isidentifier():
            _import_ours(name)
    if name not in _registered:
        raise UnknownName(f"no scorer or label method is called {name!r}{did_you_mean(name, names())}; {_known()}")
    return _registered[name]


def _known() -> str:
    return f"there are {', '.join(names())}"


def _import_ours(name: str) -> None:
    for group in _GROUPS:
        module = f"{group}.{name}"
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise


@cache
def _plugins() -> dict[str, Any]:
    return {point.name: point for group in _GROUPS for point in entry_points(group=group)}


def parse(text: str) -> Spec:
    """Read the short form of a spec, ``name`` or ``name:key=value,key=value``; values are JSON where they can be.

    >>> parse("constant:value=0.5").plain()
    {'name': 'constant', 'params': {'value': 0.5}}
    """
    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip().isidentifier():
            raise InvalidSpec(f"{text!r} is no scorer: expected name:key=value,key=value, met {pair!r}")
        params[key.strip()] = _json_or_text(value.strip())
    return Spec(name.strip(), params)


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def make(form: Scorer | Spec | Mapping[str, Any] | str | Path) -> Scorer:
    """Return the scorer that `form` describes: itself, a `Spec`, a dict, a model's folder or ``name:key=value``.

    Raises UnknownName for a name nobody registered or a folder that is not there, InvalidSpec for anything that cannot
    be remade.
    """
    if isinstance(form, (str, Path)):
        folder = Path(form)
        if os.path.isfile(folder / CONFIG):
            return load_scorer(folder)
        if os.path.isdir(folder):
            raise InvalidSpec(f"{folder} is no model's folder: it holds no {CONFIG}, which save(folder) writes")
        if isinstance(form, Path):
            raise InvalidSpec(f"{folder} is no model's folder: there is no such folder here")
        if _SEPARATOR.search(form.partition(":")[0]):
            raise UnknownName(f"there is no folder {form!r} here, nor a scorer of that name; {_known()}")
        return make(parse(form))
    if isinstance(form, Mapping):
        return make(_from_plain(form))
    if isinstance(form, Spec):
        return _build(form)
    if isinstance(form, type):
        raise InvalidSpec(f"{form.__name__} is a class: give an object of it, such as {form.__name__}()")
    if callable(form) and all(hasattr(form, name) for name in ("sees", "unit", "spec")):
        return form
    raise InvalidSpec(f"expected a scorer, a Spec, a dict, a folder or 'name:key=value', not {type(form).__name__}")


def _from_plain(form: Mapping[str, Any]) -> Spec:
    if "live" in form:
        raise InvalidSpec(f"a live {form['live']} was recorded here: it has no plain form and must be given anew")
    params = form.get("params", {})
    if not isinstance(form.get("name"), str) or not isinstance(params, Mapping) or not set(form) <= {"name", "params"}:
        raise InvalidSpec(f"a scorer as a dict is {{'name': ..., 'params': {{...}}}}, not {dict(form)!r}")
    return Spec(form["name"], params)


def _build(spec: Spec) -> Scorer:
    cls = find(spec.name)
    if "folder" in spec.params:
        return _checked(load_scorer(spec.params["folder"]), spec)
    if "weights" in spec.params and not hasattr(cls, "weights"):
        raise InvalidSpec(f"the weights of this {spec.name} were never saved: save(folder) it, then use the folder")
    try:
        return cast(Scorer, cls(**{key: _nested(value) for key, value in spec.params.items()}))
    except TypeError as error:
        raise InvalidSpec(f"{spec.name} cannot be made from {dict(spec.params)!r}: {error}") from error


def _checked(scorer: Scorer, spec: Spec) -> Scorer:
    given, found = spec.params.get("weights"), scorer.spec.params.get("weights")
    if given != found:
        raise InvalidSpec(f"{spec.params['folder']} holds other weights ({found}) than the recorded ones ({given})")
    return scorer


def _nested(value: Any) -> Any:
    if isinstance(value, Spec) or (isinstance(value, Mapping) and set(value) in ({"name", "params"}, {"live"})):
        return make(value)
    return [_nested(v) for v in value] if isinstance(value, (list, tuple)) else value


def load_scorer(folder: str | Path) -> Scorer:
    """Return the model that ``save(folder)`` wrote; safetensors and JSON only, nothing in it is ever executed.

    Raises InvalidSpec when the folder holds none.
    """
    config = Path(folder) / CONFIG
    try:
        name = str(json.loads(config.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSpec(f"{folder} is no model's folder: {CONFIG} is missing or unreadable ({error})") from error
    cls = find(name)
    if not hasattr(cls, "load"):
        raise InvalidSpec(f"{config} names {name}, which has no weights to load: say make({name!r})")
    return cast(Scorer, cls.load(Path(folder)))


def as_live_scorer(form: Scorer | Spec | Mapping[str, Any] | str | Path) -> LiveScorer:
    """Return the scorer, refusing one that sees the whole episode: it cannot pay a reward while the episode goes on."""
    scorer = make(form)
    if scorer.sees == "episode":
        raise SightError(
            f"{scorer.spec.name} sees the whole episode, and a live reward needs a scorer that sees no further than "
            "the step's result: train a model on its labels, and give that"
        )
    return cast(LiveScorer, scorer)


def as_action_scorer(form: Scorer | Spec | Mapping[str, Any] | str | Path) -> ActionScorer:
    """Return the scorer, refusing one that needs to see what an action led to: it cannot choose among candidates."""
    scorer = make(form)
    if scorer.sees != "action":
        raise SightError(
            f"{scorer.spec.name} sees the {scorer.sees}, and choosing among actions not yet taken needs a scorer that "
            "sees only the action"
        )
    return cast(ActionScorer, scorer)


def resolve(reference: str) -> Any:
    """Return what ``"module:name"`` refers to; raises InvalidSpec when there is no such thing."""
    module, colon, name = reference.partition(":")
    if not colon:
        raise InvalidSpec(f"{reference!r} is no function: expected 'module:function'")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InvalidSpec(f"{reference!r} cannot be imported: {error}") from error
