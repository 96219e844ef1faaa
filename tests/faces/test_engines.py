"""YuNet on each runtime finds what OpenCV's own detector finds, and the files made for them are sound."""

from __future__ import annotations

import importlib
import struct
import threading

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from fer_edge import machine
from fer_edge.errors import MissingRuntimeError, ModelError
from fer_edge.faces import engines
from fer_edge.faces.detector import FaceDetector, packaged_model
from fer_edge.faces.engines import available_engines, decoding
from fer_edge.faces.engines.flatbuffer import Byte, Floats, Longs, Numbers, flatbuffer
from fer_edge.faces.engines.network import INPUT, OUTPUTS, read_layers
from fer_edge.faces.engines.protobuf import field, fields
from fer_edge.faces.engines.quantization import (
    equalized,
    packaged_ranges,
    quantized_weights,
    scale_and_zero,
)
from fer_edge.faces.tracker import iou

RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(name not in available_engines(), reason=f"no {name} here"))
    for name in ("litert", "onnx")
]


@pytest.fixture(scope="module")
def reference():
    """OpenCV's detector by itself, with this package's thresholds."""
    weights = np.frombuffer(packaged_model().read_bytes(), np.uint8)
    net = cv2.FaceDetectorYN.create("onnx", weights, np.empty(0, np.uint8), (32, 32), 0.7, 0.3, 500)

    def find(picture):
        net.setInputSize((picture.shape[1], picture.shape[0]))
        found = net.detect(picture)[1]
        return np.empty((0, 15), np.float32) if found is None else found

    return find


@pytest.fixture(scope="module", params=RUNTIMES)
def detector(request):
    return FaceDetector(engine=request.param)


def scaled(photo, size):
    return cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA)


def pictures(photo):
    """Named pictures of at most 320 pixels, as the network sees them."""
    for size in (320, 257, 200, 160, 96, 61, 33):
        yield f"size {size}", scaled(photo, size)
    face = photo[40:220, 130:310]
    for tilt in (-40, -15, 15, 40):
        turn = cv2.getRotationMatrix2D((90, 90), tilt, 1.0)
        yield f"tilted by {tilt}", cv2.warpAffine(face, turn, (180, 180), borderMode=cv2.BORDER_REPLICATE)
    for x, y in ((0, 0), (7, 13), (140, 80), (219, 143)):
        picture = np.full((240, 320, 3), 90, np.uint8)
        part = scaled(face, 100)[: 240 - y, : 320 - x]
        picture[y : y + len(part), x : x + part.shape[1]] = part
        yield f"at {x}, {y}", picture
    group = np.full((240, 320, 3), 128, np.uint8)
    for i, size in enumerate((24, 32, 40, 48, 56, 64, 40, 72)):
        x, y = 80 * (i % 4), 110 * (i // 4)
        group[y : y + size, x : x + size] = scaled(face, size)
    yield "group", group
    yield "mirrored group in the dark", group[:, ::-1] // 4
    yield "overlapping", np.concatenate([scaled(face, 120)[:, :80], scaled(face, 120)[:, 30:]], axis=1)
    yield "narrow", np.ascontiguousarray(scaled(face, 200)[:, 30:150])
    yield "noise", np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)


def test_faces_equal_those_of_opencv(astronaut, detector, reference):
    total = 0
    for name, picture in pictures(astronaut):
        expected = reference(np.ascontiguousarray(picture))
        expected = expected[np.argsort(-expected[:, 14], kind="stable")]
        found = detector.detect(picture)
        assert len(found) == len(expected), name
        total += len(expected)
        np.testing.assert_array_less(0.99, iou(found.boxes, expected[:, :4]).diagonal(), err_msg=name)
        np.testing.assert_allclose(found.scores, expected[:, 14], atol=1e-4, err_msg=name)
        np.testing.assert_allclose(
            found.landmarks.reshape(-1, 10), expected[:, 4:14], atol=0.05, err_msg=name
        )
    assert total >= 20


needs_litert = pytest.mark.skipif("litert" not in available_engines(), reason="no litert here")


@needs_litert
def test_int8_finds_the_faces_of_fp32(astronaut):
    exact, fast = (FaceDetector(engine="litert", precision=precision) for precision in ("fp32", "int8"))
    assert (fast.engine, fast.precision) == ("litert", "int8")
    total, matched, differences, shifts = 0, 0, [], []
    for _, picture in pictures(astronaut):
        expected, found = exact.detect(picture), fast.detect(picture)
        total += len(expected)
        if not len(found) or not len(expected):
            continue
        overlaps = iou(found.boxes, expected.boxes)
        for i, j in zip(*np.nonzero(overlaps > 0.7), strict=True):
            matched += 1
            differences.append(found.scores[i] - expected.scores[j])
            apart = np.linalg.norm(found.landmarks[i] - expected.landmarks[j], axis=1).mean()
            shifts.append(apart / np.sqrt(expected.boxes[j, 2:].prod()))
        assert len(found) <= len(expected) + 1
    assert total >= 20
    assert matched >= 0.9 * total
    assert np.abs(differences).max() < 0.1
    assert np.mean(shifts) < 0.03


@needs_litert
def test_nothing_is_left_of_earlier_pictures_in_int8(astronaut):
    detector = FaceDetector(precision="int8")
    small = scaled(astronaut, 257)
    before = detector.detect(small)
    assert len(before) == 1
    detector.detect(np.full((288, 288, 3), 255, np.uint8))
    np.testing.assert_array_equal(detector.detect(small).boxes, before.boxes)
    np.testing.assert_array_equal(FaceDetector(precision="int8").detect(small).boxes, before.boxes)


@needs_litert
def test_equalized_network_is_the_same(astronaut):
    """In single precision, where powers of two lose nothing."""
    from fer_edge.faces.engines.litert import LiteRTSession

    layers, ranges = read_layers(packaged_model().read_bytes()), packaged_ranges()
    networks = layers, equalized(layers, ranges.exponents, ranges.largest)
    outputs = []
    for network in networks:
        session = LiteRTSession(network, 1)
        session.input(320, 320)[...] = np.pad(scaled(astronaut, 320), ((1, 0), (1, 0), (0, 0)))
        outputs.append(session.run())
    for name, one, other in zip(OUTPUTS, *outputs, strict=True):
        np.testing.assert_allclose(other * np.array(ranges.largest[name], np.float32), one, atol=1e-3)


def test_ranges_are_known_of_all_layers_that_compute():
    layers, ranges = read_layers(packaged_model().read_bytes()), packaged_ranges()
    computed = {layer.output for layer in layers if layer.operation in ("convolve", "add")}
    assert set(ranges.limits) == computed - set(OUTPUTS)
    assert set(ranges.largest) == set(OUTPUTS)
    assert set(ranges.exponents) == {name for name in computed if name.endswith(", mixed")}
    for layer in layers:
        if layer.convolution is not None:
            numbers = ranges.exponents.get(layer.output) or ranges.largest.get(layer.output)
            assert numbers is None or len(numbers) == len(layer.convolution.weights)


def test_quantized_numbers_are_near_their_originals():
    weights = np.random.default_rng(0).normal(0, 1, (5, 3, 1, 1)).astype(np.float32)
    weights[4] = 0
    numbers, scales = quantized_weights(weights)
    assert np.abs(numbers[:4]).max(axis=(1, 2, 3)).tolist() == [127] * 4
    steps = scales[:, np.newaxis, np.newaxis, np.newaxis]
    assert (np.abs(numbers * steps - weights) <= 0.5001 * steps).all()
    for limits in ((-1.0, 3.0), (0.0, 6.0), (2.0, 4.0)):
        scale, zero = scale_and_zero(limits)
        assert (limits[1] / scale + zero) == pytest.approx(127, abs=0.51)
        assert -128 <= zero <= 127


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int4"}, "must be fp32 or int8; got 'int4'"),
        ({"precision": "int8", "engine": "onnx"}, "runs on litert, not on 'onnx'"),
        ({"precision": "int8", "engine": "opencv"}, "runs on litert, not on 'opencv'"),
        ({"precision": "int8", "model": "mine.onnx"}, "your own runs in fp32"),
    ],
)
def test_precisions_that_do_not_exist_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        FaceDetector(**options)


@needs_litert
@pytest.mark.parametrize(
    ("content", "known"),
    [
        ("flags\t\t: fpu sse2 avx512_vnni", True),
        ("flags\t\t: fpu sse2 avx2", False),
        ("Features\t: fp asimd asimddp", True),
        ("Features\t: fp asimd evtstrm crc32", False),
        ("nothing known", None),
    ],
)
def test_int8_warns_where_it_is_hardly_faster(monkeypatch, tmp_path, caplog, content, known):
    (tmp_path / "cpuinfo").write_text(f"processor: 0\n{content}\n")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.has_dot_product() is known
    FaceDetector(precision="int8")
    assert ("no dot-product instructions" in caplog.text) == (known is False)


@pytest.mark.parametrize("min_score", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("engine", RUNTIMES)
def test_least_score_is_that_of_opencv(astronaut, engine, min_score):
    picture = scaled(astronaut, 96)
    found, expected = (
        FaceDetector(min_score=min_score, engine=name).detect(picture) for name in (engine, "opencv")
    )
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_nothing_is_left_of_earlier_pictures(astronaut, detector):
    """Bright margins of a larger picture would show around a smaller one of the same padded size."""
    small = scaled(astronaut, 257)
    before = detector.detect(small)
    for other in (np.full((288, 288, 3), 255, np.uint8), np.full((40, 320, 3), 255, np.uint8)):
        detector.detect(other)
        after = detector.detect(small)
        np.testing.assert_array_equal(after.boxes, before.boxes)
        np.testing.assert_array_equal(after.scores, before.scores)


def test_threads_take_turns(astronaut, detector):
    photos = [scaled(astronaut, size) for size in (120, 200, 320)]
    expected = [detector.detect(photo).boxes for photo in photos]
    wrong = []

    def work(photo, boxes):
        for _ in range(10):
            if not np.array_equal(detector.detect(photo).boxes, boxes):
                wrong.append(photo.shape)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(photos, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_detector_works_after_an_error_that_is_kept(astronaut, detector):
    """LiteRT refuses to run while anything holds its input, such as a traceback."""
    picture = scaled(astronaut, 160)

    def fail(inputs):
        raise MemoryError(str(inputs.shape))

    with pytest.raises(MemoryError) as kept:
        detector._engine.find(160, 160, fail)
    assert len(detector.detect(picture)) == 1
    assert "160, 160" in str(kept.value)


def test_first_engine_that_is_installed_is_taken(monkeypatch):
    assert FaceDetector().engine == available_engines()[0]
    load = importlib.import_module

    def without(*missing):
        def import_module(name, package=None):
            if name.split(".")[0] in missing:
                raise ImportError(name)
            return load(name, package)

        return import_module

    monkeypatch.setattr(importlib, "import_module", without("ai_edge_litert", "tflite_runtime"))
    with pytest.raises(MissingRuntimeError, match="ai-edge-litert"):
        FaceDetector(engine="litert")
    assert FaceDetector().engine == ("onnx" if "onnx" in available_engines() else "opencv")
    monkeypatch.setattr(
        importlib, "import_module", without("ai_edge_litert", "tflite_runtime", "onnxruntime")
    )
    assert FaceDetector().engine == "opencv"


def test_heads_of_a_stride_are_one():
    layers = read_layers(packaged_model().read_bytes())
    convolutions = [layer for layer in layers if layer.convolution is not None]
    assert len(convolutions) == 53 - 24 + 6
    assert layers[0].inputs == (INPUT,)
    assert [layer.convolution.weights.shape for layer in layers if layer.output in OUTPUTS] == [
        (16, 1, 3, 3)
    ] * 3


def test_made_files_hold_the_network(tmp_path):
    onnx = pytest.importorskip("onnx")
    layers = read_layers(packaged_model().read_bytes())
    made = onnx.load_from_string(importlib.import_module("fer_edge.faces.engines.onnx").onnx_file(layers))
    onnx.checker.check_model(made, full_check=True)
    flatbuffers = pytest.importorskip("ai_edge_litert.schema_py_generated")
    content = importlib.import_module("fer_edge.faces.engines.tflite").tflite_file(layers)
    model = flatbuffers.ModelT.InitFromPackedBuf(content, 0)
    stem = model.subgraphs[0].operators[0]
    weights = model.buffers[model.subgraphs[0].tensors[stem.inputs[1]].buffer].data
    expected = layers[0].convolution.weights.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(weights.view(np.float32).reshape(expected.shape), expected)
    assert stem.builtinOptions.strideW == stem.builtinOptions.strideH == 2


@pytest.mark.parametrize("content", [b"", b"not a network" * 100, b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x00"])
def test_other_networks_are_refused(content):
    with pytest.raises(ModelError, match="face detector"):
        read_layers(content)
    with pytest.raises(ModelError):
        engines.open_engine("litert", content, "x.onnx", 0.7, 1)


def test_cut_off_network_is_refused():
    whole = packaged_model().read_bytes()
    for length in (10, 1000, 100_000):
        with pytest.raises(ModelError, match="face detector"):
            read_layers(whole[:length])


def test_protobuf_fields_come_back():
    """By hand from the specification: 150 is 96 01; key 08 is field 1, varint; 12 is field 2, bytes."""
    assert field(1, 150) == bytes.fromhex("089601")
    assert field(2, "testing") == bytes.fromhex("120774657374696e67")
    assert field(2, 3, 1 << 40) == bytes.fromhex("1003 10808080808020")
    message = field(1, 150) + field(2, b"abc") + b"\x1d" + struct.pack("<f", 1.5) + field(100, 0)
    found = [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in fields(memoryview(message))
    ]
    assert found == [(1, 150), (2, b"abc"), (3, struct.pack("<f", 1.5)), (100, 0)]
    with pytest.raises(ValueError, match="wire type 3"):
        list(fields(memoryview(b"\x0b")))


def test_flatbuffer_lies_as_the_specification_says():
    content = flatbuffer(
        {
            0: 7,
            2: Byte(200),
            3: b"data",
            4: [{0: Numbers((5, -6))}, {}],
            5: Floats((0.5,)),
            6: Longs((-1, 1 << 40)),
        },
        b"TEST",
    )

    def word(at, form="<I"):
        return struct.unpack_from(form, content, at)[0]

    def fields_of(table):
        vtable = table - word(table, "<i")
        size = word(vtable, "<H")
        return [word(vtable + at, "<H") for at in range(4, size, 2)]

    assert content[4:8] == b"TEST"
    root = word(0)
    offsets = fields_of(root)
    assert offsets[1] == 0
    assert word(root + offsets[0], "<i") == 7
    assert content[root + offsets[2]] == 200
    data = root + offsets[3] + word(root + offsets[3])
    assert (data + 4) % 16 == 0
    assert (word(data), content[data + 4 : data + 8]) == (4, b"data")
    floats, longs = (root + offsets[k] + word(root + offsets[k]) for k in (5, 6))
    assert struct.unpack_from("<If", content, floats) == (1, 0.5)
    assert (longs + 4) % 8 == 0
    assert struct.unpack_from("<I", content, longs) == (2,)
    assert struct.unpack_from("<2q", content, longs + 4) == (-1, 1 << 40)
    several = root + offsets[4] + word(root + offsets[4])
    assert word(several) == 2
    first = several + 4 + word(several + 4)
    numbers = first + fields_of(first)[0] + word(first + fields_of(first)[0])
    assert struct.unpack_from("<Iii", content, numbers) == (2, 5, -6)
    assert fields_of(several + 8 + word(several + 8)) == []


def row(x, y, width, height, score):
    return [x, y, width, height, *[0] * 10, score]


def test_cells_are_decoded_by_stride():
    """Of each stride one cell: x, y = (cell + output) * stride, sizes exp(output) * stride."""
    outputs = [np.full((cells, 16), -20, np.float32) for cells in (64, 16, 4)]
    outputs[0][8 + 2] = [3, 3, 0.5, 0.25, 0, 0, *[1, 2] * 5]
    outputs[1][4 * 3 + 3] = [20, 0, 0, 0, 0, np.log(2), *[0, 0] * 5]
    found = decoding.decode(outputs, 64, 64, 0.7)
    probability = 1 / (1 + np.exp(-3))
    x, y = (2 + 0.5) * 8 - 4, (1 + 0.25) * 8 - 4
    expected = [row(x, y, 8, 8, probability), row(48 - 8, 48 - 16, 16, 32, np.sqrt(0.5))]
    expected[0][4:14] = [(2 + 1) * 8, (1 + 2) * 8] * 5
    expected[1][4:14] = [48, 48] * 5
    np.testing.assert_allclose(found, expected, rtol=1e-6)
