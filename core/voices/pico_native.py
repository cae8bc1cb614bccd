"""The SVOX Pico engine in py-nanotts' extension, called through ctypes.

The package's own call holds the GIL for a whole text and loads the voice anew each time; ctypes
releases the GIL around every call. Pico keeps all it knows in one block of memory that the caller
gives it. A copy of that block, taken when the engine is new, is put back before each text: whatever
a text did, or left half done, the next one meets a new engine (0.1 ms). The block starts as zeros:
Pico reads some of it before it writes it.
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, byref, c_char_p, c_int16, c_int32, c_uint32, c_void_p
from pathlib import Path
from typing import Final

PICO_RATE_HZ: Final = 16_000

_ARENA_BYTES: Final = 2_500_000
"""As py-nanotts has it."""
_NAME_BYTES: Final = 300
_PIECE_BYTES: Final = 128
"""Audio that one step of the engine gives at most."""
_VOICE: Final = b"voice"

_OK: Final = 0
_IDLE: Final = 200
_BUSY: Final = 201

_COMMAND_SIGNS: Final = frozenset("<>\0")
"""Pico reads `<...>` as a command (some write files, some outlast their text) and NUL as an end."""

_SIGNATURES: Final[dict[str, tuple[type, ...]]] = {
    "pico_initialize": (c_void_p, c_uint32, POINTER(c_void_p)),
    "pico_loadResource": (c_void_p, c_char_p, POINTER(c_void_p)),
    "pico_getResourceName": (c_void_p, c_void_p, c_char_p),
    "pico_createVoiceDefinition": (c_void_p, c_char_p),
    "pico_addResourceToVoiceDefinition": (c_void_p, c_char_p, c_char_p),
    "pico_newEngine": (c_void_p, c_char_p, POINTER(c_void_p)),
    "pico_putTextUtf8": (c_void_p, c_char_p, c_int16, POINTER(c_int16)),
}


class PicoError(RuntimeError):
    """Pico gave an error status; its number is the message. The engine stays usable."""


class PicoEngine:
    """One engine with one voice. One thread uses it at a time."""

    def __init__(self, *files: str) -> None:
        """Load the voice's files, named as they are in the package.

        Raises:
            FileNotFoundError: the package or its extension is not installed.
            PicoError: a file cannot be loaded.
        """
        package = _package()
        library = next(package.glob("_nanotts*.so"), None)
        if library is None:
            raise FileNotFoundError(f"{package} holds no compiled extension.")
        self._library = ctypes.CDLL(str(library))
        for name, types in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = types, c_int32
        self._arena = ctypes.create_string_buffer(_ARENA_BYTES)
        system = c_void_p()
        self._call("pico_initialize", self._arena, _ARENA_BYTES, byref(system))
        self._call("pico_createVoiceDefinition", system, _VOICE)
        for file in files:
            resource, resource_name = c_void_p(), ctypes.create_string_buffer(_NAME_BYTES)
            path = str(package / "lang" / file).encode()
            self._call("pico_loadResource", system, path, byref(resource))
            self._call("pico_getResourceName", system, resource, resource_name)
            self._call("pico_addResourceToVoiceDefinition", system, _VOICE, resource_name.value)
        self._engine = c_void_p()
        self._call("pico_newEngine", system, _VOICE, byref(self._engine))
        self._new = self._arena.raw

    def synthesise(self, text: str, *, speed_percent: int, volume_percent: int) -> bytes:
        """Mono s16le audio at `PICO_RATE_HZ`; empty where the text holds nothing Pico can read.

        Speed is 20 to 500, volume 0 to 500.

        Raises:
            ValueError: the text holds a sign of Pico's command language.
            PicoError: Pico failed.
        """
        if not _COMMAND_SIGNS.isdisjoint(text):
            raise ValueError("Text for Pico must hold no sign of its command language.")
        # Never closed: a closing tag adds half a second of silence, and both end with this engine.
        return self._obey(
            f'<volume level="{volume_percent}"><speed level="{speed_percent}">{text}\0'
        )

    def _obey(self, markup: str) -> bytes:
        """What a new engine says for a text with commands."""
        ctypes.memmove(self._arena, self._new, _ARENA_BYTES)
        left, audio, taken = markup.encode(), bytearray(), c_int16()
        while left:
            size = min(len(left), 2**15 - 1)
            self._call("pico_putTextUtf8", self._engine, left, size, byref(taken))
            if taken.value <= 0:
                raise PicoError("Pico takes no more text.")
            left = left[taken.value :]
            self._drain(audio)
        return bytes(audio)

    def _drain(self, audio: bytearray) -> None:
        """All audio of the text so far."""
        piece, count, kind = ctypes.create_string_buffer(_PIECE_BYTES), c_int16(), c_int16()
        view, busy = memoryview(piece), _BUSY
        # A sentence takes 15,000 steps. Arguments that are made once, for a function without
        # declared types, halve what Python adds to each.
        get = self._library["pico_getData"]
        arguments = (self._engine, piece, c_int32(_PIECE_BYTES), byref(count), byref(kind))
        status = busy
        while status == busy:
            status = get(*arguments)
            size = count.value
            if size:
                audio += view[:size]
        if status != _IDLE:
            raise PicoError(f"pico_getData: {status}")

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != _OK:
            raise PicoError(f"{name}: {status}")


def _package() -> Path:
    """Where py-nanotts is installed; nothing of it is imported."""
    found = importlib.util.find_spec("py_nanotts")
    if found is None or found.origin is None:
        raise FileNotFoundError("The package py-nanotts is not installed.")
    return Path(found.origin).parent
