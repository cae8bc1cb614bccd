"""The languages of the product and how callers write them."""

from __future__ import annotations

from typing import Final, Literal, get_args

Language = Literal["en", "es", "zh"]

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
"""English, Spanish, Mandarin: every profile speaks them, online and offline."""

AUTO: Final = "auto"
"""The text decides, see `core.text.detect`."""

_OTHER_NAMES: Final[dict[str, Language]] = {"cmn": "zh"}


def language_of(tag: str) -> Language | None:
    """The language that a BCP 47 tag names, whatever its region, script and case: `es-MX` is `es`.

    `None` where it is none of ours.
    """
    primary = tag.replace("_", "-").partition("-")[0].lower()
    for language in LANGUAGES:
        if primary == language:
            return language
    return _OTHER_NAMES.get(primary)
