"""Kokoro's graph in two: the parts compute what the whole does."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from core.voices.kokoro_graph import KokoroGraph, NotKokoro
from core.voices.kokoro_model import packaged_model
from core.voices.kokoro_net import UNIT_SAMPLES, KokoroNet, vocabulary
from core.voices.kokoro_norms import load_norms, measure_norms
from core.voices.mandarin import Mandarin
from tests.sentences import MANDARIN


@pytest.fixture(scope="module")
def model() -> bytes:
    return packaged_model()


@pytest.fixture(scope="module")
def graph(model: bytes) -> KokoroGraph:
    return KokoroGraph(model)


@pytest.fixture(scope="module")
def measured(graph: KokoroGraph) -> KokoroNet:
    return KokoroNet(graph.encoder(), graph.measured_decoder())


@pytest.fixture(scope="module")
def reader() -> Mandarin:
    return Mandarin(vocabulary())


@pytest.mark.long
def test_both_parts_together_sound_as_the_model_itself(
    model: bytes, measured: KokoroNet, reader: Mandarin
) -> None:
    (reading,) = reader.read("您好，我在。")
    plan = measured.plan(reading.symbols, 1.0)
    ours = measured.decode(plan, 0, plan.units, 0.0)
    whole = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    ids = [0, *(measured.vocabulary[symbol] for symbol in reading.symbols), 0]
    feed = {
        "tokens": np.asarray([ids], np.int64),
        "style": plan.style,
        "speed": np.ones(1, np.float32),
    }
    (theirs,) = whole.run(["audio"], feed)
    assert len(ours) == len(theirs) == plan.units * UNIT_SAMPLES
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.long
def test_the_kept_norms_are_those_of_typical_speech(measured: KokoroNet, reader: Mandarin) -> None:
    """Measured on other sentences than they were made of, they come out much the same."""
    kept = {name: np.frombuffer(data, "<f4") for name, data in load_norms().items()}
    now = measure_norms(measured, reader, MANDARIN[1:3])
    assert kept.keys() == now.keys()
    alike = [np.corrcoef(kept[name], now[name])[0, 1] for name in kept]
    assert len(alike) == 108
    assert np.median(alike) > 0.98
    assert min(alike) > 0.6


@pytest.mark.parametrize("cut", [0, 1, 1000, 5_000_000])
def test_a_file_that_is_no_model_is_told(model: bytes, cut: int) -> None:
    with pytest.raises(NotKokoro):
        KokoroGraph(model[:cut])


@pytest.mark.parametrize("data", [b"no model\n" * 99, b"\xff" * 64, b"\x3a\x05hello", bytes(99)])
def test_no_bytes_are_too_odd(data: bytes) -> None:
    with pytest.raises(NotKokoro):
        KokoroGraph(data)


@pytest.mark.long
def test_a_decoder_that_goes_by_its_own_norms_is_the_trained_one(
    graph: KokoroGraph, measured: KokoroNet, reader: Mandarin
) -> None:
    kept = KokoroNet(graph.encoder(), graph.decoder(load_norms()))
    plan = kept.plan(reader.read("请稍等。")[0].symbols, 1.0)
    own, usual = (kept.decode(plan, 0, plan.units, weight) for weight in (0.0, 1.0))
    theirs = measured.decode(plan, 0, plan.units, 0.0)
    assert np.abs(own - theirs).max() < 1e-4
    assert np.abs(usual - theirs).max() > 0.1


def test_norms_of_another_model_are_refused(graph: KokoroGraph) -> None:
    norms = load_norms()
    norms.pop(next(iter(norms)))
    with pytest.raises(NotKokoro):
        graph.decoder(norms)
