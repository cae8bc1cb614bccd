"""`python -m core.voices.kokoro_norms OUT`: measures the norms of Kokoro's decoder for its voice.

The outcome is in the source tree (`styles/zf_xiaobei.norms.bin`); it has to be made anew only for
another model or voice. See `core.voices.kokoro_graph` for what it is for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from core.voices.kokoro_graph import KokoroGraph
from core.voices.kokoro_model import packaged_model
from core.voices.kokoro_net import KokoroNet, Samples, vocabulary
from core.voices.mandarin import Mandarin

NORMS: Final = Path(__file__).parent / "styles" / "zf_xiaobei.norms.bin"
"""A msgpack map from the name of each mean to its float32 values, one for each channel."""

TYPICAL: Final = (
    "这个小区的绿化很好，离地铁站只有五分钟。",
    "我想了解一下附近的医院和公园。",
    "您方便告诉我您的预算是多少吗？",
    "客厅朝南，采光非常好，厨房也很宽敞。",
    "物业费每个月两百块钱，停车位另外收费。",
    "今天下午三点我带您去看另外一套别墅。",
    "没问题，我马上把合同的照片发给您！",
    "对不起，那一套昨天已经租出去了。",
    "从这里开车到机场大概需要四十分钟。",
    "您好，请问您是想买房还是租房？",
    "二手房的税费由买方承担，大约是百分之三。",
    "主卧带独立卫生间，次卧可以改成书房。",
)
"""A minute of what the voice usually says."""


def load_norms() -> dict[str, bytes]:
    """The means that stand in the source tree."""
    return msgspec.msgpack.decode(NORMS.read_bytes(), type=dict[str, bytes])


def measure_norms(net: KokoroNet, reader: Mandarin, texts: Iterable[str]) -> dict[str, Samples]:
    """Means over these texts with the silence around each sentence, as the decoder was trained;
    the net has a measured decoder."""
    sums: dict[str, Samples] = {}
    total = 0
    for text in texts:
        for reading in reader.read(text):
            plan = net.plan(reading.symbols, 1.0)
            for name, values in net.measure(plan).items():
                sums[name] = sums.get(name, np.float32(0)) + values * np.float32(plan.units)
            total += plan.units
    return {name: values / np.float32(total) for name, values in sums.items()}


def encode_norms(norms: Mapping[str, Samples]) -> bytes:
    """The file's bytes."""
    return msgspec.msgpack.encode({n: v.astype("<f4").tobytes() for n, v in norms.items()})


def main() -> int:
    """Measure with the packaged model and write. The exit code."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    graph = KokoroGraph(packaged_model())
    net = KokoroNet(graph.encoder(), graph.measured_decoder())
    Path(sys.argv[1]).write_bytes(encode_norms(measure_norms(net, Mandarin(vocabulary()), TYPICAL)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
