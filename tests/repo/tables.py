"""The tables of README.md and REFERENCE.md that follow from the code: `python -m tests.repo.tables`
writes them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import core.settings
from core.agents import PROFILES
from core.audio.formats import ALIASES, FORMATS, resolve
from core.settings import VARIABLES, Settings
from gateway.errors import error_table

README = Path(__file__).resolve().parents[2] / "README.md"
REFERENCE = README.with_name("REFERENCE.md")


def settings_rows() -> list[tuple[str, str, str]]:
    """Variable, what it does and its default, in the order of the source.

    Every field's docstring begins with its variable and a colon.
    """
    fields = {place: variable for variable, place in VARIABLES.items()}
    rows = []
    tree = ast.parse(Path(core.settings.__file__).read_text())
    sections = {
        type(getattr(Settings(), name)).__name__: name for name in Settings.__struct_fields__
    }
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        section = "" if node.name == "Settings" else sections[node.name]
        owner: Any = getattr(Settings(), section) if section else Settings()
        for field, text in _documented(node):
            if (section, field) not in fields:
                assert not section, f"{node.name}.{field} has no variable"
                continue
            variable = fields.pop((section, field))
            name, colon, does = text.partition(":")
            assert (name, colon) == (variable, ":"), (
                f"{node.name}.{field} is not said as {variable}"
            )
            default = getattr(owner, field)
            if variable.endswith("_MS") and field.endswith("_s"):
                default = default * 1000
            rows.append((variable, " ".join(does.split()), _default(default)))
    assert not fields, f"settings without a docstring: {fields}"
    return rows


def _documented(node: ast.ClassDef) -> list[tuple[str, str]]:
    found = []
    for field, text in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found.append((field.target.id, str(text.value.value)))
    return found


def _default(value: object) -> str:
    if value in ("", ()):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def settings_table() -> str:
    lines = ["| variable | what it does | default |", "|---|---|---|"]
    lines += [f"| `{name}` | {does} | {default} |" for name, does, default in settings_rows()]
    return "\n".join(lines)


def errors_table() -> str:
    lines = ["| code | status | meaning | what to do | again? |", "|---|---|---|---|---|"]
    lines += [
        f"| `{row.code}` | {row.status} | {row.meaning} | {row.action} "
        f"| {'yes' if row.retryable else 'no'} |"
        for row in error_table()
    ]
    return "\n".join(lines)


def profiles_table() -> str:
    lines = [
        "| profile | for | provider's voice | offline: pitch, pace |",
        "|---|---|---|---|",
    ]
    for profile in PROFILES.values():
        voices = {
            (v.elevenlabs_voice, v.local_voice.partition(":")[2], v.local_speed)
            for v in profile.voices.values()
        }
        assert len(voices) == 1, "one row says it for every language"
        voice, cents, speed = voices.pop()
        pitch = f"{int(cents or 0) / 100:+g} semitones" if cents else "as recorded"
        lines.append(f"| `{profile.id}` | {profile.use} | `{voice}` | {pitch}, {speed:g} |")
    return "\n".join(lines)


def formats_table() -> str:
    lines = ["| `format` | content type | short name |", "|---|---|---|"]
    short: dict[str, list[str]] = {}
    for alias, name in {"mp3": resolve("mp3", Settings().speech.mp3_kbps).name, **ALIASES}.items():
        short.setdefault(FORMATS[name].content_type, []).append(f"`{alias}` = `{name}`")
    families: dict[tuple[str, str], list[str]] = {}
    for row in FORMATS.values():
        family = row.name.partition("_")[0]
        families.setdefault((family, row.content_type), []).append(row.name)
    for (_, content_type), names in families.items():
        listed = ", ".join(f"`{name}`" for name in names)
        aliases = ", ".join(short.get(content_type, []))
        lines.append(f"| {listed} | {content_type} | {aliases} |")
    return "\n".join(lines)


TABLES = {
    README: {"profiles": profiles_table, "formats": formats_table},
    REFERENCE: {"settings": settings_table, "errors": errors_table},
}


def with_tables(page: Path) -> str:
    """The page with every `<!-- name -->...<!-- /name -->` filled anew."""
    text = page.read_text()
    for name, table in TABLES[page].items():
        head, begin, rest = text.partition(f"<!-- {name} -->")
        _, end, tail = rest.partition(f"<!-- /{name} -->")
        assert begin, f"{page.name} has no place for {name}"
        assert end, f"{page.name} has no place for {name}"
        text = f"{head}{begin}\n{table()}\n{end}{tail}"
    return text


if __name__ == "__main__":
    for page in TABLES:
        page.write_text(with_tables(page))
