"""What users give for many models at once: models, stores and what is built, loaders and layers by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from torch import nn

from pyscale.comparison.batches import check_loader
from pyscale.comparison.engine import check_model
from pyscale.stores.opening import open_store
from pyscale.stores.store import Store

Subject = nn.Module | Store
Models = Mapping[Any, Any] | Iterable[tuple[Any, Any]]


def named_subjects(models: Models, build: Callable[[Any], nn.Module] | None, stack: ExitStack) -> dict[str, Subject]:
    """Return models and stores by name, those built or opened that are none yet.

    Args:
        models: As the user gave them.
        build: Makes a module of what is neither.
        stack: Closes what was opened here.

    Raises:
        TypeError: Something is neither a model nor a store.
        ValueError: There is nothing, or two bear one name.
    """
    if not isinstance(models, Mapping | Iterable) or isinstance(models, str | nn.Module):
        raise TypeError(f"models is a {type(models).__name__}; expected a mapping, or (name, model) pairs")
    if build is not None and not callable(build):
        raise TypeError(f"build is {build!r}; expected a function that makes a module of what models holds, or None")
    pairs = list(models.items() if isinstance(models, Mapping) else models)
    if not pairs:
        raise ValueError("models is empty; expected at least one model")
    subjects: dict[str, Subject] = {}
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"models holds a {type(pair).__name__}; expected a mapping, or (name, model) pairs")
        name = str(pair[0])
        if name in subjects:
            raise ValueError(f"models holds the name {name!r} twice; every model needs a name of its own")
        subjects[name] = _subject(pair[1], f"models[{name!r}]", build, stack)
    return subjects


def chosen_loaders(
    loader: Iterable[Any] | Mapping[Any, Iterable[Any]] | None, models: list[str]
) -> tuple[dict[str, Iterable[Any]], dict[str, int]]:
    """Return the loaders by what errors call them, each once, and for every model the place of its own.

    Args:
        loader: One for all, or one for each by name.
        models: Names of the models that run.

    Raises:
        TypeError: A loader is no iterable of batches, or there is none.
        ValueError: They are not those of the models.
    """
    if loader is None:
        raise TypeError(f"loader is None; the models {models} need batches (stores alone don't)")
    if not isinstance(loader, Mapping):
        check_loader(loader, "loader")
        return {"loader": loader}, dict.fromkeys(models, 0)
    loaders: dict[str, Iterable[Any]] = {}
    places: dict[str, int] = {}
    for name, own in by_name(loader, models, argument="loader").items():
        check_loader(own, f"loader[{name!r}]")
        known = [place for place, other in enumerate(loaders.values()) if other is own]
        places[name] = known[0] if known else len(loaders)
        if not known:
            loaders[f"loader[{name!r}]"] = own
    return loaders, places


def by_name(given: Any, names: list[str], *, argument: str) -> dict[str, Any]:
    """Return one value for each name: the one given for all, or those given by name; ValueError where they differ."""
    if not isinstance(given, Mapping):
        if isinstance(given, Iterator):
            given = list(given)  # it is read once for each model
        return dict.fromkeys(names, given)
    values = {str(name): value for name, value in given.items()}
    if set(values) != set(names):
        raise ValueError(f"{argument} is given for {list(values)}; expected one for each model: {names}")
    return {name: values[name] for name in names}


def _subject(given: Any, argument: str, build: Callable[[Any], nn.Module] | None, stack: ExitStack) -> Subject:
    if isinstance(given, Store):
        return given
    if build is not None and not isinstance(given, nn.Module):
        given = build(given)
    elif isinstance(given, str | os.PathLike):
        store = open_store(given)
        stack.callback(store.close)
        return store
    if not isinstance(given, nn.Module):
        raise TypeError(
            f"{argument} is a {type(given).__name__}; expected a torch.nn.Module, a store or its path, or build= to "
            f"make a module of it"
        )
    check_model(given, argument)
    return given
