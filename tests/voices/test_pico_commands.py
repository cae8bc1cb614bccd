"""Whatever a text tries to do to Pico, it is text, and the next caller hears their own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.voices.pico import Pico
from core.voices.pico_native import PicoEngine, PicoError
from core.voices.registry import EngineOptions
from tests.voices.spanish import FILES, SENTENCES, check, passages_of, pcm_of

NEXT_TEXT = "La puerta, por favor."
HELLO = "Buenos días, señora."


@pytest.fixture(scope="module")
def pico() -> Pico:
    return Pico(EngineOptions(data_dir=""))


@pytest.fixture(scope="module")
def next_pcm() -> bytes:
    """What a new engine says for `NEXT_TEXT`, quickly, which is less to make each time."""
    return pcm_of(Pico(EngineOptions(data_dir="")), NEXT_TEXT, speed=3.0)


TAGS = (
    'genfile file="{path}"',
    'genfile file="relative.wav"',
    'usesig file="{path}"',
    'play file="{path}"',
    "ignore",
    'preproccontext name="x"',
    'mark name="x"',
    'phoneme alphabet="xsampa" ph="o.la"',
    'speed level="300"',
    'pitch level="200"',
    'volume level="0"',
    'speaker level="50"',
    "spell",
    'spell mode="pause"',
    'break time="9s"',
    'voice name="x"',
    'prosodydomain f0beg="200" f0end="50"',
    'item info1="1" info2="1"',
    'orthmode mode="ignorepunct"',
    "s",
    "p",
    "sentence",
    "paragraph",
    "xml",
    "/speed",
    "/ignore",
    "!--",
    "",
)


def hostile(tag: str) -> list[str]:
    """The tag around a text in every way it may be written."""
    name = tag.split(" ")[0]
    opened, closed = f"<{tag}>", f"</{name}>"
    plain = [
        f"{opened}{HELLO}{closed}",
        f"{opened}{HELLO}",
        f"{HELLO} {opened}",
        f"<{tag}/>{HELLO}",
        f"< {tag} >{HELLO}</ {name} >",
        f"<{tag}",
        f"{opened}{opened}{HELLO}{closed}",
        f"<<{tag}>>{HELLO}<</{name}>>",
        f"\\{opened}{HELLO}\\{closed}",
        f"<\0{tag}>{HELLO}\0{closed}",
        f"\0{opened}{HELLO}",
        f"<\u200b{tag}>{HELLO}",
        f"<![CDATA[{opened}]]>{HELLO}",
    ]
    upper = [text.upper() for text in plain[:3]]
    wide = [text.translate({0x3C: 0xFF1C, 0x3E: 0xFF1E}) for text in plain[:3]]
    small = [text.translate({0x3C: 0xFE64, 0x3E: 0xFE65}) for text in plain[:3]]
    angles = [text.translate({0x3C: 0x27E8, 0x3E: 0x27E9}) for text in plain[:2]]
    entities = [text.replace("<", "&lt;").replace(">", "&gt;") for text in plain[:2]]
    numbers = [text.replace("<", "&#60;").replace(">", "&#x3e;") for text in plain[:2]]
    combined = [text.replace("<", "<\u0338").replace(">", ">\u0338") for text in plain[:2]]
    return [*plain, *upper, *wide, *small, *angles, *entities, *numbers, *combined]


@pytest.mark.parametrize("tag", TAGS)
def test_a_command_is_text_and_the_next_caller_hears_their_own(
    pico: Pico, next_pcm: bytes, tag: str, tmp_path: Path
) -> None:
    hello_bytes = len(pcm_of(pico, HELLO, speed=3.0))
    for text in hostile(tag.format(path=tmp_path / "written.wav")):
        with contextlib.chdir(tmp_path):
            passages = passages_of(pico, text, speed=3.0)
        check(text, passages)
        assert os.listdir(tmp_path) == []
        if HELLO in text:  # and it is spoken, at its usual length and level
            pcm = b"".join(passage.pcm for passage in passages)
            assert len(pcm) >= hello_bytes * 0.7
            assert np.abs(np.frombuffer(pcm, np.int16)).max() > 8000
        assert pcm_of(pico, NEXT_TEXT, speed=3.0) == next_pcm


def test_pico_itself_would_obey(tmp_path: Path) -> None:
    """What the guard is for; in a process of its own, since `<spell>` ends it."""
    speak = "import py_nanotts, sys; py_nanotts.NanoTTS().speak(sys.argv[1], voice='es-ES')"
    text = f'<genfile file="{tmp_path / "written.wav"}">{HELLO}</genfile>'
    subprocess.run([sys.executable, "-c", speak, text], check=True, timeout=30)
    assert [path.name for path in tmp_path.iterdir()] == ["written.wav"]


@pytest.mark.parametrize("text", ["a <b", "a> b", "a\0b", "<ignore>"])
def test_the_engine_takes_no_sign_of_a_command(text: str) -> None:
    with pytest.raises(ValueError, match="command"):
        PicoEngine(*FILES).synthesise(text, speed_percent=100, volume_percent=40)


@pytest.mark.parametrize("left", [b"<ignore>", b'<volume level="5">Hola.', b"Esto lo dijo otro"])
def test_what_is_left_in_the_engine_is_not_heard(left: bytes) -> None:
    """As after an error in the middle of a text: it was put in, and never taken out."""
    engine = PicoEngine(*FILES)
    clean = engine.synthesise(HELLO, speed_percent=100, volume_percent=40)
    count = ctypes.c_int16()
    engine._call("pico_putTextUtf8", engine._engine, left, len(left), ctypes.byref(count))
    assert count.value == len(left)
    assert engine.synthesise(HELLO, speed_percent=100, volume_percent=40) == clean


def test_after_an_error_the_engine_speaks_on() -> None:
    engine = PicoEngine(*FILES)
    clean = engine.synthesise(HELLO, speed_percent=100, volume_percent=40)
    handle, engine._engine = engine._engine, type(engine._engine)()
    with pytest.raises(PicoError):
        engine.synthesise(HELLO, speed_percent=100, volume_percent=40)
    engine._engine = handle
    assert engine.synthesise(HELLO, speed_percent=100, volume_percent=40) == clean


def test_after_a_cancelled_text_the_next_caller_hears_their_own(
    pico: Pico, next_pcm: bytes
) -> None:
    for heard in range(3):
        passages = pico.speak("es", " ".join(SENTENCES), speed=1.3, seed=None)
        for _ in range(heard):
            next(passages)
        assert pcm_of(pico, NEXT_TEXT, speed=3.0) == next_pcm
        del passages
