"""Which layers are compared: by name, by pattern, by type, or every leaf that computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn
from torch.nn.modules import activation, pooling

from pyscale.comparison.wrappers import named_children, named_modules

Layer: TypeAlias = str | type[nn.Module]
Layers: TypeAlias = Layer | Iterable[Layer] | None

_KINDS: tuple[type[nn.Module], ...] = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.Bilinear,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.modules.batchnorm._NormBase,  # batch and instance norms
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.RNNBase,
    nn.RNNCellBase,
    *(getattr(activation, name) for name in activation.__all__),  # attention among them
    *(getattr(pooling, name) for name in pooling.__all__),
)
_KIND_WORDS = ("norm", "pool", "activation", "relu", "gelu", "silu", "swish", "mish", "sigmoid", "tanh", "softmax")


@dataclass(frozen=True)
class Selection:
    """The layers of one model that are compared.

    Attributes:
        modules: Every chosen module under its name, in the order of registration.
        calls: For a module of which only some calls were asked for, their numbers.
        required: Names that the user spelled out; each must give an activation.
        by_default: Whether nothing was asked for, so that all leaves that compute were taken.
    """

    modules: dict[str, nn.Module]
    calls: dict[str, frozenset[int]]
    required: frozenset[str]
    by_default: bool

    def wants(self, name: str, call: int) -> bool:
        """Return whether the ``call``-th call of the module of that name in one forward pass is compared."""
        return name not in self.calls or call in self.calls[name]


def row_name(name: str, call: int) -> str:
    """Return the name of a row: the module's own for its first call, ``name#1`` for the second, and so on."""
    return name if call == 0 else f"{name}#{call}"


def select_layers(model: nn.Module, layers: Layers = None, *, argument: str = "layers") -> Selection:
    """Choose the layers of a model.

    Args:
        model: Any module; wrappers such as ``DataParallel`` don't show in the names.
        layers: Names as in ``model.named_modules()`` (``"relu#1"`` is the second call only), glob patterns over them
            (``*`` matches dots too), module types, or an iterable of these. None is every leaf that computes:
            convolution, linear, embedding, norm, activation, attention, pool, recurrent, and foreign leaves that have
            parameters or are named after one of these kinds.
        argument: What errors call ``layers``.

    Returns:
        The selection. A module that several names lead to bears the first of them.

    Raises:
        TypeError: ``layers`` or an item of it is neither a string nor a module type.
        ValueError: A name, pattern or type is in no layer of the model, or nothing is chosen.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
        >>> list(select_layers(net).modules), list(select_layers(net, nn.Linear).modules)
        (['0', '1', '3'], ['0', '3'])
    """
    first_names: dict[nn.Module, str] = {}
    modules: dict[str, nn.Module] = {}
    for name, module in named_modules(model):
        modules[name] = module
        first_names.setdefault(module, name)
    if layers is None:
        leaves = set(_computing(modules[""]))
        chosen = {name: module for module, name in first_names.items() if name in leaves}
        if not chosen:
            raise ValueError(
                f"{argument} is None, and {type(model).__name__} has no convolution, linear, norm, activation, pool or "
                f"recurrent layer to take; name layers, such as {argument}={list(modules)[-1:]!r}"
            )
        return Selection(chosen, {}, frozenset(), by_default=True)
    return _choose(modules, first_names, _as_items(layers, argument), argument)


def _choose(
    modules: dict[str, nn.Module], first_names: dict[nn.Module, str], items: list[Layer], argument: str
) -> Selection:
    wanted: dict[str, set[int] | None] = {}  # None: every call
    required: set[str] = set()
    for item in items:
        name, call = _as_call(item, modules)
        if name is not None:
            name = first_names[modules[name]]
            required.add(row_name(name, call or 0))
            calls = wanted.setdefault(name, set())
            if call is None:
                wanted[name] = None
            elif calls is not None:
                calls.add(call)
            continue
        for match in _matches(item, modules, argument):
            wanted[first_names[modules[match]]] = None
    chosen = {name: module for module, name in first_names.items() if name in wanted}
    calls_only = {name: frozenset(calls) for name, calls in wanted.items() if calls is not None}
    return Selection(chosen, calls_only, frozenset(required), by_default=False)


def _as_items(layers: Layer | Iterable[Layer], argument: str) -> list[Layer]:
    if not isinstance(layers, str | type | Iterable):
        raise TypeError(
            f"{argument} is a {type(layers).__name__}; expected a layer's name, a glob pattern or a module type, or "
            f"several of them"
        )
    items = [layers] if isinstance(layers, str | type) else list(layers)
    for item in items:
        if not isinstance(item, str) and not (isinstance(item, type) and issubclass(item, nn.Module)):
            raise TypeError(f"{argument} holds {item!r}; expected a layer's name, a glob pattern or a module type")
    if not items:
        raise ValueError(f"{argument} is empty; name at least one layer, or pass None for every leaf that computes")
    return items


def _as_call(item: Layer, modules: dict[str, nn.Module]) -> tuple[str | None, int | None]:
    """Return the module's name and the call's number (None: all) where ``item`` spells out a name."""
    if not isinstance(item, str):
        return None, None
    if item in modules:
        return item, None
    name, mark, call = item.rpartition("#")
    if mark and name in modules and call.isdecimal():
        return name, int(call)
    return None, None


def _matches(item: Layer, modules: dict[str, nn.Module], argument: str) -> list[str]:
    if isinstance(item, str):
        found = [name for name in modules if name and fnmatchcase(name, item)]  # a pattern never means the whole model
    else:
        found = [name for name, module in modules.items() if isinstance(module, item)]
    if found:
        return found
    if not isinstance(item, str):
        raise ValueError(f"{argument} asks for {item.__name__}, but the model has no such module")
    near = get_close_matches(item, [name for name in modules if name], n=5, cutoff=0.5)
    hint = f"near matches: {', '.join(map(repr, near))}" if near else f"it has {_first_few(modules)}"
    raise ValueError(f"{argument} asks for {item!r}, but the model has no such layer; {hint}")


def _first_few(modules: dict[str, nn.Module], count: int = 8) -> str:
    names = [repr(name) for name in modules if name]
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def _computing(module: nn.Module, name: str = "") -> Iterator[str]:
    """Yield the names of the modules that compute and hold none that does.

    Attention is one leaf, because its output projection is a module that is never called; what re-parametrises a
    weight computes no activation.
    """
    if isinstance(module, nn.MultiheadAttention):
        yield name
        return
    inside = [
        found
        for path, child in named_children(module, name)
        if path.rpartition(".")[2] != "parametrizations"
        for found in _computing(child, path)
    ]
    yield from inside
    if not inside and _computes(module):
        yield name


def _computes(module: nn.Module) -> bool:
    if isinstance(module, _KINDS):
        return True
    kind = type(module)
    if kind.__module__.startswith("torch."):
        return False
    if any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
        return True
    return not module._modules and any(word in kind.__name__.lower() for word in _KIND_WORDS)
