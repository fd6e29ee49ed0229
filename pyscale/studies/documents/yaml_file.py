"""YAML text as plain values that remember the line they stand on; nothing in it is executed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

Place = tuple[str | int, ...]
"""Where a value is: keys of mappings and indices of lists, from the outside in."""


class StudyFileError(ValueError):
    """What is wrong in a study's file, with file, line and key."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with numbers such as ``1e6`` read as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d+|\d*\.\d+|\d+\.)[eE][-+]?\d+$"), list("-+.0123456789")
)


class YamlText:
    """A parsed file.

    Args:
        text: Its content.
        name: Of the file, for messages.

    Attributes:
        value: Mappings, lists, strings, numbers.

    Raises:
        StudyFileError: If it is not YAML, a key stands twice, or a tag asks for an object.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            loader = _Loader(text)
        except yaml.reader.ReaderError as error:
            above = text.count("\n", 0, error.position)
            raise StudyFileError(f"{name}, line {above + 1}: not YAML: {error.reason}") from error
        try:
            root = loader.get_single_node()
            if root is None:
                raise StudyFileError(f"{name}: expected a study, got an empty file")
            self._root: yaml.Node = root
            self._check_keys(self._root, ())
            self.value: Any = loader.construct_document(self._root)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = "" if mark is None else f", line {mark.line + 1}"
            raise StudyFileError(f"{name}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
        finally:
            loader.dispose()

    def where(self, place: Place) -> str:
        """File, line and key in words, for a place or, where nothing stands there, what surrounds it."""
        node, line = self._root, int(self._root.start_mark.line)
        for part in place:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        return f"{self.name}, line {line + 1}" + (f": {key}" if key else "")

    def stands(self, place: Place) -> bool:
        """Whether something is at a place."""
        node = self._root
        for part in place:
            found = _child(node, part)
            if found is None:
                return False
            _, node = found
        return True

    def _check_keys(self, node: yaml.Node, above: Sequence[yaml.Node]) -> None:
        """Raise where a mapping has a key twice, or an alias stands inside what it names."""
        if any(node is other for other in above):
            raise StudyFileError(f"{self.name}, line {node.start_mark.line + 1}: it holds itself")
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen and isinstance(key, yaml.ScalarNode):
                    raise StudyFileError(f"{self.name}, line {key.start_mark.line + 1}: {key.value} stands twice")
                seen.add(str(key.value))
                self._check_keys(value, (*above, node))
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                self._check_keys(value, (*above, node))


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key or item and the value's node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value.start_mark.line, value
    return None
