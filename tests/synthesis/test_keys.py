"""Voice keys: every input that changes audio changes the key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.speech import VoiceSettings
from core.synthesis.keys import VoiceIdentity, identify, rendition_key, voice_key

short = st.text(min_size=1, max_size=12)
ratio = st.none() | st.floats(0, 1)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": short,
    "int": st.integers(1, 9),
    "bool": st.booleans(),
    "float | None": ratio,
    "bool | None": st.none() | st.booleans(),
    "int | None": st.none() | st.integers(0, 2**32 - 1),
    "str | None": st.none() | short,
}
FIELDS = {name: BY_TYPE[str(kind)] for name, kind in VoiceIdentity.__annotations__.items()}

identities = st.builds(VoiceIdentity, **FIELDS)


@given(st.data(), identities, st.sampled_from(sorted(FIELDS)))
def test_flipping_any_input_gives_another_key(
    data: st.DataObject, identity: VoiceIdentity, field: str
) -> None:
    other = data.draw(FIELDS[field].filter(lambda value: value != getattr(identity, field)))
    changed = msgspec.structs.replace(identity, **{field: other})
    assert voice_key(changed) != voice_key(identity)


@given(identities)
def test_equal_inputs_give_the_same_key(identity: VoiceIdentity) -> None:
    again = VoiceIdentity(**msgspec.structs.asdict(identity))
    assert voice_key(again) == voice_key(identity)
    assert len(voice_key(identity)) == 32


def key_of(settings: VoiceSettings | None, **changed: Any) -> str:
    asked = {
        "tenant": "default",
        "provider": "elevenlabs",
        "account": "a",
        "engine": "http-1",
        "voice": "v",
        "model": "m",
        "language": "en",
        "text": "Hello.",
    }
    return voice_key(identify(settings=settings, **(asked | changed)))


def test_null_and_explicit_defaults_differ() -> None:
    keys = {
        key_of(None),
        key_of(VoiceSettings()),
        key_of(VoiceSettings(stability=0.5)),
        key_of(VoiceSettings(style=0.0)),
        key_of(VoiceSettings(speed=1.0)),
        key_of(VoiceSettings(use_speaker_boost=True)),
        key_of(VoiceSettings(use_speaker_boost=False)),
        key_of(VoiceSettings(similarity_boost=0.75)),
    }
    assert len(keys) == 8


@pytest.mark.parametrize("field", list(VoiceSettings.__struct_fields__))
def test_every_setting_is_part_of_the_key(field: str) -> None:
    value: Any = True if field == "use_speaker_boost" else 0.25
    assert key_of(VoiceSettings(**{field: value})) != key_of(VoiceSettings())


def test_fields_do_not_run_into_each_other() -> None:
    assert key_of(None, voice="ab", model="c") != key_of(None, voice="a", model="bc")


def test_a_rendition_is_its_voices_in_order_and_its_format() -> None:
    base = rendition_key(["a", "b"], "mp3_24000_128", "A b.")
    assert base != rendition_key(["b", "a"], "mp3_24000_128", "A b.")
    assert base != rendition_key(["ab"], "mp3_24000_128", "A b.")
    assert base != rendition_key(["a", "b"], "pcm_24000", "A b.")
    assert base == rendition_key(["a", "b"], "mp3_24000_128", "A b.")
