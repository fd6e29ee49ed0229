"""Keys inside a store: names of layers as one path component each, and paths that can't leave the store."""

from __future__ import annotations

from string import ascii_letters, digits

_PLAIN = frozenset(ascii_letters + digits + "._-")
_EMPTY = "%"  # the whole model, whose name is empty; an escape would have two digits behind it
_LONGEST = 255  # bytes of a file's name


def layer_key(name: str) -> str:
    """Return a layer's name as one path component: all but ASCII letters, digits, ``._-`` as ``%XX``, as in URLs.

    Raises:
        ValueError: The key would be longer than file systems take.

    Example:
        >>> layer_key("layer1.0.relu#1"), layer_key("../x"), layer_key("__x")
        ('layer1.0.relu%231', '%2E.%2Fx', '%5F_x')
    """
    key = "".join(
        c if c in _PLAIN else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogatepass")) for c in name
    )
    if key[:1] in (".", "_"):  # "." and ".." are no names, and Zarr keeps "__" for itself
        key = f"%{ord(key[0]):02X}{key[1:]}"
    if len(key) > _LONGEST:
        raise ValueError(
            f"layer {name[:40]!r}... has a name of {len(key)} characters as a file; at most {_LONGEST} can be"
        )
    return key or _EMPTY


def check_key(key: str) -> str:
    """Return a key inside a store, components joined by "/".

    Raises:
        ValueError: It is absolute, or a component would lead elsewhere.

    Example:
        >>> check_key("layers/conv1/c.0.0")
        'layers/conv1/c.0.0'
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise ValueError(f"{key!r} is no path inside a store")
    return key
