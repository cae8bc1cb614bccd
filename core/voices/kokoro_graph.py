"""Kokoro's one graph as two: from phonemes to a plan of the speech, and from part of it to sound.

The model comes as one ONNX graph that speaks a whole sentence or nothing. Nine tenths of its work
are the decoder, whose convolutions see only a quarter of a second around; what ties it to the whole
sentence are its 54 instance norms, which take their mean and variance over all of the time axis. A
short stretch alone has others, and is badly understood. So each of these means is drawn towards its
usual value, which was measured on typical speech (`core.voices.kokoro_norms`): then a stretch
sounds as it does within the sentence. A little of its own stays, or unusual sounds would run away.

ONNX files are protobuf messages; the few fields needed here are read and written by hand, since the
`onnx` package is large. Field numbers are those of onnx.proto (ONNX 1.x, unchanged since IR 3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec

DURATIONS: Final = "/encoder/Clip_output_0"
"""Units for each symbol and the two pads, float (1, symbols + 2)."""
PHONES: Final = "/encoder/MatMul_1_output_0"
"""The text's features, float (1, 512, units)."""
PITCH: Final = "/encoder/Reshape_output_0"
"""Fundamental frequency, float (1, 2 x units)."""
ENERGY: Final = "/encoder/Reshape_1_output_0"
"""Logarithm of the loudness, float (1, 2 x units); near -9.4 in silence, above 0 in vowels."""
PLAN: Final = (DURATIONS, PHONES, PITCH, ENERGY)
NORM_WEIGHT: Final = "norm_weight"
"""How much the usual means count against a stretch's own, float (1,): 0 not at all, 1 alone."""
AUDIO: Final = "audio"
"""Samples from -1 to 1, float (600 x units,)."""

_DECODED: Final = (PHONES, PITCH, ENERGY)
_VARINT, _BYTES = 0, 2
_FLOAT: Final = 1
_MEAN: Final = b"ReduceMean"


class NotKokoro(Exception):
    """The bytes are not an ONNX export of Kokoro with the names of kokoro-onnx 1.0."""


class _Node(msgspec.Struct, frozen=True):
    record: bytes
    content: bytes
    operator: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class KokoroGraph:
    """The graph of a model, in parts that can be put together anew."""

    def __init__(self, model: bytes) -> None:
        """Take the file apart.

        Raises:
            NotKokoro: it is no ONNX file, or its names are others.
        """
        self._head = b""
        """Everything of the model but its graph."""
        graph = b""
        try:
            for field, record, value in _fields(model):
                if field == 7:
                    graph = value
                else:
                    self._head += record
            self._nodes: list[_Node] = []
            self._weights: dict[str, bytes] = {}
            self._inputs: dict[str, bytes] = {}
            for field, record, value in _fields(graph):
                if field == 1:
                    self._nodes.append(_node(record, value))
                elif field == 5:
                    name = next(v for f, _, v in _fields(value) if f == 8)
                    self._weights[name.decode()] = record
                elif field == 11:
                    name = next(v for f, _, v in _fields(value) if f == 1)
                    self._inputs[name.decode()] = record
        except (IndexError, ValueError, StopIteration) as error:
            raise NotKokoro("it is no ONNX file") from error
        self._made_by = {
            name: index for index, node in enumerate(self._nodes) for name in node.outputs if name
        }
        if not {AUDIO, *PLAN} <= self._made_by.keys():
            raise NotKokoro("it has other names")

        needed, _ = self._needed((AUDIO,), _DECODED)
        self.norm_names = tuple(
            self._nodes[index].outputs[0]
            for index in sorted(needed)
            if self._nodes[index].operator == _MEAN
        )
        """Names of the decoder's means over time, in the order of the graph."""

    def encoder(self) -> bytes:
        """The part that plans: inputs `tokens`, `style` and `speed`, outputs `PLAN`."""
        return self._extract(PLAN, (), {})

    def decoder(self, norms: Mapping[str, bytes]) -> bytes:
        """The part that sounds: inputs `PHONES`, `PITCH`, `ENERGY`, `style` and `NORM_WEIGHT`,
        output `AUDIO`.

        `norms` are the usual means over time, by name: float32, little endian, one a channel.

        Raises:
            NotKokoro: the model has other norms.
        """
        if set(norms) != set(self.norm_names):
            raise NotKokoro("its norms are others")
        return self._extract((AUDIO,), _DECODED, norms)

    def measured_decoder(self) -> bytes:
        """The decoder as it was trained, which speaks only whole sentences well; its means over
        time are outputs too."""
        return self._extract((AUDIO, *self.norm_names), _DECODED, {})

    def _needed(self, wanted: Collection[str], given: Collection[str]) -> tuple[set[int], set[str]]:
        """The nodes that make the wanted values out of the given ones, and all values they use."""
        nodes: set[int] = set()
        names: set[str] = set()
        open_names = list(wanted)
        while open_names:
            name = open_names.pop()
            names.add(name)
            index = self._made_by.get(name)
            if name in given or index is None or index in nodes:
                continue
            nodes.add(index)
            open_names += [name for name in self._nodes[index].inputs if name]
        return nodes, names

    def _extract(
        self, wanted: Collection[str], given: Collection[str], norms: Mapping[str, bytes]
    ) -> bytes:
        nodes, names = self._needed(wanted, given)
        parts = []
        for index in sorted(nodes):
            node = self._nodes[index]
            usual = norms.get(node.outputs[0])
            parts += [node.record] if usual is None else _drawn(node, usual)
        parts.append(_bytes(2, b"kokoro"))
        parts += [record for name, record in self._weights.items() if name in names]
        parts += [record for name, record in self._inputs.items() if name in names]
        parts += [_input(name, 3 if name == PHONES else 2) for name in given]
        if norms:
            parts.append(_input(NORM_WEIGHT, 1))
        parts += [_bytes(12, _bytes(1, name.encode())) for name in wanted]
        return self._head + _bytes(7, b"".join(parts))


def _node(record: bytes, value: bytes) -> _Node:
    inputs, outputs, operator = [], [], b""
    for field, _, content in _fields(value):
        if field == 1:
            inputs.append(content.decode())
        elif field == 2:
            outputs.append(content.decode())
        elif field == 4:
            operator = content
    return _Node(record, value, operator, tuple(inputs), tuple(outputs))


def _drawn(mean: _Node, usual: bytes) -> list[bytes]:
    """What computes a mean, and draws it towards the usual one before it goes on under its name."""
    name = mean.outputs[0]
    own, constant, off, step = (f"{name}/{part}" for part in ("own", "usual", "off", "step"))
    kept = b"".join(
        record for field, record, _ in _fields(mean.content) if field not in (2, 3)
    )  # but its outputs and its name
    return [
        _bytes(1, kept + _bytes(2, own.encode())),
        _constant(constant, usual),
        _operation(b"Sub", (constant, own), off),
        _operation(b"Mul", (off, NORM_WEIGHT), step),
        _operation(b"Add", (own, step), name),
    ]


def _operation(operator: bytes, inputs: tuple[str, ...], output: str) -> bytes:
    """A node without attributes."""
    names = b"".join(_bytes(1, name.encode()) for name in inputs)
    return _bytes(1, names + _bytes(2, output.encode()) + _bytes(4, operator))


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The fields of a message in order: number, the whole record, and its content where it has a
    length of its own (strings, bytes, messages).

    Raises:
        ValueError, IndexError: it is no message.
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        content = at
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                size, content = _varint(message, at)
                at = content + size
            case 5:
                at += 4
            case kind:
                raise ValueError(f"wire type {kind}")
        if at > len(message):
            raise ValueError("cut short")
        yield tag >> 3, message[start:at], message[content:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without an end")


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _bytes(field: int, value: bytes) -> bytes:
    return _number(field << 3 | _BYTES) + _number(len(value)) + value


def _integer(field: int, value: int) -> bytes:
    return _number(field << 3 | _VARINT) + _number(value)


def _constant(name: str, values: bytes) -> bytes:
    """A weight of shape (1, channels, 1)."""
    channels = len(values) // 4
    shape = b"".join(_integer(1, size) for size in (1, channels, 1))
    return _bytes(5, shape + _integer(2, _FLOAT) + _bytes(8, name.encode()) + _bytes(9, values))


def _input(name: str, rank: int) -> bytes:
    """A float input whose sizes are all free."""
    sizes = b"".join(_bytes(1, _bytes(2, f"{name}_{axis}".encode())) for axis in range(rank))
    tensor = _integer(1, _FLOAT) + _bytes(2, sizes)
    return _bytes(11, _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor)))
