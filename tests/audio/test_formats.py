from __future__ import annotations

import pytest

from core.audio.formats import FORMATS, MP3_KBPS, content_types, format_names, resolve
from core.errors import UnsupportedFormat

ELEVENLABS = (
    *("mp3_22050_32", "mp3_24000_48", "mp3_44100_32", "mp3_44100_64", "mp3_44100_96"),
    *("mp3_44100_128", "mp3_44100_192", "pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000"),
    *("pcm_32000", "pcm_44100", "pcm_48000", "wav_8000", "wav_16000", "wav_22050", "wav_24000"),
    *("wav_32000", "wav_44100", "wav_48000", "ulaw_8000", "alaw_8000", "opus_48000_32"),
    *("opus_48000_64", "opus_48000_96", "opus_48000_128", "opus_48000_192"),
)


def test_every_output_format_of_elevenlabs_is_made() -> None:
    assert len(set(ELEVENLABS)) == 28
    for name in ELEVENLABS:
        codec, rate_hz, *kbps = name.split("_")
        made = resolve(name, 128)
        assert made.name == name
        assert (made.codec, made.rate_hz) == (codec, int(rate_hz))
        assert made.kbps == (int(kbps[0]) if kbps else None)


def test_short_names_lead_to_canonical_ones() -> None:
    assert resolve("mp3", 128).name == "mp3_24000_128"
    assert resolve("mp3", 64).kbps == 64
    assert resolve("wav", 128).name == "wav_24000"
    assert resolve("pcm", 128).name == "pcm_24000"
    assert resolve("ogg", 128).name == "ogg_48000_64"
    assert resolve("opus", 128).name == "opus_48000_64"
    assert resolve("ulaw", 128).name == "ulaw_8000"
    assert resolve("alaw", 128).name == "alaw_8000"


def test_canonical_names_lead_to_themselves() -> None:
    for name, output in FORMATS.items():
        assert resolve(name, 128) is output
        assert output.name == name


def test_content_types_and_extensions() -> None:
    assert {(f.name.partition("_")[0], f.content_type, f.extension) for f in FORMATS.values()} == {
        ("mp3", "audio/mpeg", "mp3"),
        ("wav", "audio/wav", "wav"),
        ("pcm", "audio/pcm", "pcm"),
        ("ulaw", "audio/basic", "ulaw"),
        ("alaw", "audio/x-alaw-basic", "alaw"),
        ("opus", "audio/opus", "opus"),
        ("ogg", "audio/ogg", "ogg"),
    }
    assert sorted(content_types()) == sorted({f.content_type for f in FORMATS.values()})


@pytest.mark.parametrize(
    "name", ["flac", "MP3", "", "mp3_24000_100", "wav_11025", "ulaw_16000", "<script>"]
)
def test_another_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        resolve(name, 128)
    assert all(known in refused.value.message for known in format_names())
    assert not name or name in "".join(format_names()) or name not in refused.value.message


@pytest.mark.parametrize("kbps", MP3_KBPS)
def test_mp3_has_the_bit_rate_of_the_setting(kbps: int) -> None:
    output = resolve("mp3", kbps)
    assert output.kbps == kbps
    assert output.rate_hz == (24_000 if kbps <= 160 else 44_100)


def test_a_bit_rate_that_layer_iii_cannot_have_is_refused() -> None:
    for kbps in (100, 0, 384):
        assert kbps not in MP3_KBPS
        with pytest.raises(UnsupportedFormat):
            resolve("mp3", kbps)
