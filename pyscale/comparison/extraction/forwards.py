"""Which ``forward=`` a store was made with: what it computes, as far as that can be seen from outside."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

from pyscale.comparison.batches import Forward
from pyscale.comparison.extraction.digests import Digest

CODE = "its code"


def describe_forward(forward: Forward | None) -> dict[str, Any] | None:
    """Return what tells a callable from others, as JSON types; None for None.

    Its ``parts`` are digests: of its code, and by name of what it holds (defaults, variables of the functions around
    it, arguments of a ``partial``, attributes of an object that is called) and of the global names that it looks up,
    those of the functions of its own module among them included. ``opaque`` names what is known by its type alone.
    Functions of other modules count with their code, and not with what they look up; classes and modules by name.

    Example:
        >>> describe_forward(lambda model, batch: model(batch))["name"]
        '<lambda>'
    """
    if forward is None:
        return None
    name = getattr(forward, "__qualname__", type(forward).__qualname__)
    found = _Parts(dict(_held(forward)))
    version = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    return {"name": name, "python": version, "parts": found.digests, "opaque": found.opaque}


def forward_difference(found: Any, wanted: Any) -> str | None:
    """Return in what two descriptions differ, or None where both are of one forward, whatever it is called."""
    if found is None or wanted is None:
        return None if found == wanted else f"{_name(found)} there, {_name(wanted)} asked for"
    if not isinstance(found, Mapping) or not isinstance(found.get("parts"), Mapping):
        return f"{_name(found)} there, {_name(wanted)} asked for"
    parts, others = found["parts"], wanted["parts"]
    differing = [part for part in {**parts, **others} if parts.get(part) != others.get(part)]
    if not differing:
        return None
    python = f"; compiled by {found.get('python')} there" if found.get("python") != wanted["python"] else ""
    return f"{_name(found)} there, {_name(wanted)} asked for, which differ in {', '.join(differing)}{python}"


def _name(described: Any) -> str:
    return str(described["name"]) if isinstance(described, Mapping) and "name" in described else str(described)


class _Parts:
    """Digests of what a callable is made of, and what can't be looked into."""

    def __init__(self, held: Mapping[str, Any]) -> None:
        self.digests: dict[str, str] = {}
        self.opaque: list[str] = []
        for name, value in held.items():
            digest = Digest()
            if isinstance(value, _Code):
                digest.add_code(value.code, value.doc)
            else:
                digest.add(value)
            self.digests[name] = digest.hex
            self.opaque += [f"{name} (a {kind})" for kind in digest.opaque]


class _Code:
    """A function's code, told apart from what a callable holds."""

    def __init__(self, function: FunctionType) -> None:
        self.code, self.doc = function.__code__, function.__doc__


def _held(forward: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a callable consists of, by name."""
    if isinstance(forward, partial):
        yield from _held(forward.func)
        yield "its arguments", [forward.args, forward.keywords]
    elif isinstance(forward, MethodType):
        yield from _held(forward.__func__)
        yield from _attributes(forward.__self__)
    elif isinstance(forward, FunctionType):
        wrapped = getattr(forward, "__wrapped__", None)
        if wrapped is not None and _is_torchs(forward):  # no_grad, compile
            yield from _held(wrapped)
        else:
            yield from _of_function(forward)
    elif hasattr(forward, "__wrapped__"):  # lru_cache
        yield from _held(forward.__wrapped__)
    elif isinstance(called := getattr_static(type(forward), "__call__"), FunctionType):
        yield from _of_function(called)
        yield from _attributes(forward)
    else:
        yield CODE, forward


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    yield CODE, _Code(function)
    if function.__defaults__ or function.__kwdefaults__:
        yield "its defaults", [function.__defaults__, function.__kwdefaults__]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    yield from _looked_up(function)


def _looked_up(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the values of global names that a function looks up, and those that its module's functions do in turn."""
    known: set[str] = set()
    waiting = [function]
    while waiting:
        names = _global_names(waiting.pop().__code__)
        for name in sorted((names - known) & set(function.__globals__)):
            known.add(name)
            value = function.__globals__[name]
            yield name, value
            if isinstance(value, FunctionType) and value.__globals__ is function.__globals__:
                waiting.append(value)


def _global_names(code: CodeType) -> set[str]:
    found = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _global_names(constant)
    return found


def _attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object is that is called, or whose method is."""
    if isinstance(owner, nn.Module | type):
        yield "its object", owner
        return
    methods = {name: value for name, value in vars(type(owner)).items() if isinstance(value, FunctionType)}
    yield "its class", [type(owner), methods]
    slots = [name for kind in type(owner).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
    for name in (*getattr(owner, "__dict__", ()), *slots):
        if name != "__dict__" and hasattr(owner, name):
            yield f".{name}", getattr(owner, name)


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_torchs(function: FunctionType) -> bool:
    return str(function.__globals__.get("__name__", "")).partition(".")[0] == "torch"
