"""The tables of the session protocol, read off the structs that are its wire format."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import NODEFAULT, UNSET

from core.conversation.audio_frames import HEADER_BYTES, HEADER_FIELDS
from core.conversation.commands import COMMANDS
from core.conversation.events import EVENTS


def command_markdown() -> str:
    """What a client may send."""
    return _table("from you", COMMANDS, ("command_id",))


def event_markdown() -> str:
    """What a client gets."""
    return _table("from the gateway", EVENTS, ("sequence",))


def header_markdown() -> str:
    """The beginning of a binary frame."""
    lines = [f"| byte (of {HEADER_BYTES}) | holds |", "|---|---|"]
    lines += [f"| {where} | {what} |" for where, what in HEADER_FIELDS]
    return "\n".join(lines)


def _table(head: str, kinds: tuple[type[msgspec.Struct], ...], common: tuple[str, ...]) -> str:
    lines = [f"| {head} | fields | |", "|---|---|---|"]
    for kind in kinds:
        fields = "<br>".join(_fields(kind, common))
        meaning = " ".join((kind.__doc__ or "").split())
        lines.append(f"| `{kind.__struct_config__.tag}` | {fields} | {meaning} |")
    return "\n".join(lines)


def _fields(kind: type[msgspec.Struct], common: tuple[str, ...]) -> Iterator[str]:
    said = _docstrings(kind)
    for field in msgspec.structs.fields(kind):
        if field.encode_name in common:
            continue
        told = f"`{field.encode_name}`{_default(field.default)}"
        found = said.get(field.name) or _described(field.type)
        yield f"{told}: {found}" if found else told


def _default(default: Any) -> str:
    if default is NODEFAULT or default is UNSET:
        return ""
    return f" ({msgspec.json.encode(default).decode()})"


def _described(kind: Any) -> str:
    for part in (kind, *getattr(kind, "__args__", ())):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return ""


def _docstrings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The strings that stand below the fields of a class."""
    return _all_docstrings(kind.__module__)[kind.__name__]


@cache
def _all_docstrings(module: str) -> dict[str, dict[str, str]]:
    """By class and field."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {
        node.name: dict(_below_fields(node.body))
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def _below_fields(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, note in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(note, ast.Expr)
            and isinstance(note.value, ast.Constant)
        ):
            yield field.target.id, " ".join(str(note.value.value).split())
