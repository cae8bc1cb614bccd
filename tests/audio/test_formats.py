from __future__ import annotations

import pytest

from core.audio.formats import FORMATS, MP3_KBPS, format_names, resolve
from core.errors import UnsupportedFormat


def test_short_names_lead_to_canonical_ones() -> None:
    assert resolve("mp3", 128).name == "mp3_24000_128"
    assert resolve("mp3", 64).kbps == 64
    assert resolve("wav", 128).name == "wav_24000"
    assert resolve("pcm", 128).name == "pcm_24000"


def test_canonical_names_lead_to_themselves() -> None:
    for name, output in FORMATS.items():
        assert resolve(name, 128) is output
        assert output.name == name


def test_content_types_and_extensions() -> None:
    assert {(f.codec, f.content_type, f.extension) for f in FORMATS.values()} == {
        ("mp3", "audio/mpeg", "mp3"),
        ("wav", "audio/wav", "wav"),
        ("pcm", "audio/pcm", "pcm"),
    }


@pytest.mark.parametrize("name", ["ogg", "MP3", "", "mp3_24000_100", "wav_48000", "<script>"])
def test_another_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        resolve(name, 128)
    assert all(known in refused.value.message for known in format_names())
    assert not name or name in "".join(format_names()) or name not in refused.value.message


def test_a_bit_rate_that_layer_iii_cannot_have_is_refused() -> None:
    assert 100 not in MP3_KBPS
    with pytest.raises(UnsupportedFormat):
        resolve("mp3", 100)
