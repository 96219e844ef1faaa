"""From a trained checkpoint to files that do the same, and refusals where they would not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_csv

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

import fer_edge
from fer_edge.export import pipeline, tflite
from fer_edge.export.calibration import choose_rows
from fer_edge.export.convert import Converted, quiet
from fer_edge.export.network import InferenceNet, short_half
from fer_edge.export.parity import CalibrationError, ExportReport, Parity, ParityError
from fer_edge.faces.pictures import read_labelled
from fer_edge.fer2013.votes import read_votes
from fer_edge.labels import ANSWERS, EMOTIONS
from fer_edge.models.backends import load_onnxruntime
from fer_edge.models.manifest import TensorSpec
from fer_edge.models.people import People
from fer_edge.train import checkpoint
from fer_edge.train.architectures import Architecture, Stage
from fer_edge.train.data import load_training_data
from fer_edge.train.loop import fit
from fer_edge.train.model import EmotionNet, normalize
from fer_edge.train.options import Augmentation, TrainOptions
from fer_edge.train.validation import predict_heads

HEADS = ("people", "fer2013")
BALANCE = 0.3
"""Of the exported model; none that the rule could choose."""
FILES = {"edge-int8.tflite", "edge-fp32.tflite", "edge-int8.onnx", "edge-fp32.onnx"}
NO_REPORT = ExportReport("tiny", 70, {}, {}, None, {}, {}, 0, {})


@pytest.fixture(scope="module")
def trained_tiny(drawn, tmp_path_factory):
    """A checkpoint of a small network with one head that tells drawn faces apart."""
    stages = (Stage("fused", 2, 16, 1, 2), Stage("inverted", 3, 24, 2, 2))
    net = EmotionNet(Architecture(stem=8, stages=stages, head=32, dropout=0.0), people=False)
    folder = tmp_path_factory.mktemp("tiny")
    options = TrainOptions(epochs=10, batch=10, warmup=1, ema=0.9, augmentation=Augmentation().scaled(0.2))
    fit(drawn, options, folder, start=net)
    return folder / "last.pt"


@pytest.fixture(scope="module")
def exporting(trained_edge, drawn_csv, drawn_votes, tmp_path_factory):
    """Folder and report of an export, and what was quantized for TFLite: the fp32 file and the ranges."""
    folder = tmp_path_factory.mktemp("export") / "new" / "folder"
    quantized = []
    quantize = tflite.quantize
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "quantize", lambda *given: quantized.append(given) or quantize(*given))
        report = pipeline.export(
            trained_edge,
            fer_edge.read_fer2013(drawn_csv),
            folder,
            votes=read_votes(drawn_votes),
            balance=BALANCE,
        )
    return folder, report, quantized[0]


@pytest.fixture(scope="module")
def exported(exporting):
    return exporting[:2]


def test_export_writes_four_files_and_a_manifest_that_matches(exported, drawn_csv):
    folder, report = exported
    assert {path.name for path in folder.iterdir()} == FILES | {"manifest.json", "edge-training.csv"}
    assert len((folder / "edge-training.csv").read_text().splitlines()) == 1 + 10
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["labels"] == list(fer_edge.EMOTIONS)
    entry = manifest["models"]["edge"]
    assert entry["calibration"]["rows"] == 140
    assert entry["held_out"]["rows"] == 35
    assert {"torch", "litert-torch", "onnxruntime"} <= entry["versions"].keys()
    for name in FILES:
        content = (folder / name).read_bytes()
        described = entry["files"][name]
        assert described["sha256"] == hashlib.sha256(content).hexdigest()
        assert described["bytes"] == len(content)
        # Nothing of the machine that exported it.
        assert b"site-packages" not in content
        assert str(Path(fer_edge.__file__).parents[1]).encode() not in content
        assert described["held_out"].keys() == described["outputs"].keys() == set(HEADS)
        for head in HEADS:
            assert described["held_out"][head]["accuracy"] == pytest.approx(
                report.parity[name][head].accuracy
            )


def test_manifest_holds_the_settings_of_people_and_both_temperatures(exported):
    """Drawn faces are voted for evenly, and nearly all alike."""
    folder, report = exported
    entry = json.loads((folder / "manifest.json").read_text())["models"]["edge"]
    assert entry["temperature"] == pytest.approx(report.temperature)
    assert entry["temperature"].keys() == set(HEADS)
    assert entry["people"]["prior"] == pytest.approx([1 / 7] * 7, abs=1e-5)
    people = fer_edge.load_classifier(folder).people
    assert people == report.people
    assert people.balance == BALANCE
    assert asdict(people) == {**entry["people"], "prior": tuple(entry["people"]["prior"])}
    assert entry["fitted_on"] == "held-out tenth of Training"
    assert entry["balance_from"] == "given"


@pytest.mark.parametrize("backend", ["litert", "onnx"])
def test_int8_file_has_int8_ends_and_takes_grey_minus_128(exported, backend):
    file = fer_edge.load_classifier(exported[0], backend).file
    assert (file.input.dtype, file.input.scale, file.input.zero_point) == ("int8", 1 / 64, 0)
    assert {head: spec.dtype for head, spec in file.outputs.items()} == dict.fromkeys(HEADS, "int8")


def test_int8_weights_are_per_channel_and_every_operation_is_quantized(exported):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exported[0] / "edge-int8.tflite"))
    tensors = {details["index"]: details for details in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()
    names = {operation["op_name"] for operation in operations}
    assert names <= {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "PAD", "AVERAGE_POOL_2D", "DELEGATE"}
    convolutions = [operation for operation in operations if "CONV" in operation["op_name"]]
    assert len(convolutions) == 32
    for operation in convolutions:
        weights = tensors[operation["inputs"][1]]
        assert weights["dtype"] == np.int8
        channels = weights["shape"][3 if operation["op_name"] == "DEPTHWISE_CONV_2D" else 0]
        assert len(weights["quantization_parameters"]["scales"]) == channels
    assert all(
        tensors[index]["dtype"] == np.int8 for operation in operations for index in operation["outputs"]
    )


def test_tflite_file_is_compact_and_computes_as_the_converter_wrote_it(exporting, drawn_csv, monkeypatch):
    """Without compaction the file is larger and gives the same bytes."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    faces = fer_edge.read_fer2013(drawn_csv).pixels[:20]
    folder, _, quantized = exporting
    small = (folder / "edge-int8.tflite").read_bytes()
    monkeypatch.setattr(tflite, "compact", bytes)
    with quiet():
        large = tflite.quantize(*quantized)
    assert len(small) < 0.85 * len(large)

    def answers(model):
        interpreter = Interpreter(model_content=model)
        interpreter.allocate_tensors()
        out = []
        for face in faces:
            signed = (face.astype(np.int16) - 128).astype(np.int8).reshape(1, 48, 48, 1)
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], signed)
            interpreter.invoke()
            results = interpreter.get_output_details()
            out.append([interpreter.get_tensor(result["index"]).ravel() for result in results])
        return [np.stack(head) for head in zip(*out, strict=True)]

    found, expected = answers(small), answers(large)
    assert sorted(head.shape for head in found) == [(20, 7), (20, 9)]
    for head, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(head, wanted)
    names = [
        tensor.name.decode() for tensor in schema.ModelT.InitFromPackedBuf(small, 0).subgraphs[0].tensors
    ]
    assert len(set(names)) == len(names)
    assert any(name.startswith("features.9.block.2.conv:") for name in names)
    model = schema.Model.GetRootAs(small, 0)
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            offset = buffer._tab.Offset(4)
            assert buffer._tab.Vector(offset) % 16 == 0


def test_int8_onnx_file_spends_nothing_on_names(exported):
    """Inputs and outputs keep theirs, everything else has a number; weights are what counts."""
    import onnx

    graph = onnx.load(exported[0] / "edge-int8.onnx").graph
    kept = ["faces", "logits", "people"]
    assert [value.name for value in (*graph.input, *graph.output)] == kept
    names = {name for node in graph.node for name in (*node.input, *node.output)} - {*kept, ""}
    assert max(map(len, names)) <= 3
    assert {value.name for value in graph.initializer} <= names
    assert not any(node.name or node.doc_string or node.metadata_props for node in graph.node)
    assert not graph.value_info


def test_onnx_file_has_the_integers_of_the_tflite_file(exported):
    """Weights, biases and scales are the same numbers, found by reading both files without the exporter."""
    import onnx
    from ai_edge_litert.interpreter import Interpreter
    from onnx import numpy_helper

    interpreter = Interpreter(str(exported[0] / "edge-int8.tflite"))
    tensors = {details["index"]: details for details in interpreter.get_tensor_details()}
    graph = onnx.load(exported[0] / "edge-int8.onnx").graph
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    ours = [node for node in graph.node if node.op_type == "Conv"]
    theirs = [operation for operation in interpreter._get_ops_details() if "CONV" in operation["op_name"]]
    assert len(ours) == len(theirs) == 32
    for node, operation in zip(ours, theirs, strict=True):
        weights, bias = (producers[name] for name in node.input[1:])
        _, kernel, offset = operation["inputs"]
        values = interpreter.get_tensor(kernel)
        axes = (3, 0, 1, 2) if operation["op_name"] == "DEPTHWISE_CONV_2D" else (0, 3, 1, 2)
        np.testing.assert_array_equal(constants[weights.input[0]], values.transpose(axes))
        np.testing.assert_array_equal(constants[bias.input[0]], interpreter.get_tensor(offset))
        for found, index in ((weights, kernel), (bias, offset)):
            scales = tensors[index]["quantization_parameters"]["scales"]
            np.testing.assert_array_equal(constants[found.input[1]], scales)
    # On x86-64 without VNNI the runtime exchanges these, layer by layer, and wants each once.
    used = [name for node in ours for name in (producers[node.input[1]].input[0::2])]
    assert len(used) == len(set(used)) == 2 * 32
    assert {constants[name].dtype for name in used} == {np.dtype(np.int8)}


def test_a_mean_halfway_between_two_numbers_is_rounded_away_from_zero():
    """As by TFLite; the runtime by itself would round to the even one."""
    onnxruntime = load_onnxruntime()
    from onnx import TensorProto, helper

    from fer_edge.export import onnx_files
    from fer_edge.export.layers import Average, Layer

    spec = onnx_files.TensorSpec("int8", 6 / 255, -128)
    graph = onnx_files._Graph()
    stored = graph.quantized(graph.real("x", spec), onnx_files._shifted(spec))
    mean = graph.layer(Layer(Average((2, 2), (1, 1)), (0,), 1, spec, None), [(stored, spec)])
    graph.quantized(graph.real(mean, onnx_files._shifted(spec)), spec, "y")
    ends = [helper.make_tensor_value_info(name, TensorProto.INT8, ["n", 1, None, None]) for name in "xy"]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "mean", ends[:1], ends[1:], graph.constants),
        opset_imports=[helper.make_opsetid("", onnx_files.OPSET)],
        ir_version=10,
    )
    # Every sum of four from -512 to 508, the halves among them.
    sums = np.arange(-512, 509)
    parts = np.stack([(sums + index) // 4 for index in range(4)], axis=1)
    assert (parts.sum(1) == sums).all()
    expected = np.sign(sums) * ((np.abs(sums) * 2 + 4) // 8)
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (found,) = session.run(None, {"x": parts.astype(np.int8).reshape(-1, 1, 2, 2)})
        np.testing.assert_array_equal(found.ravel(), expected)


def test_both_formats_cut_off_sums_where_an_activation_does():
    """Blocks of two convolutions end in a ReLU6 after the addition, whose range is wider than its output."""
    from ai_edge_litert.interpreter import Interpreter

    from fer_edge.export import onnx_files
    from fer_edge.export.layers import read_layers

    torch.manual_seed(3)
    stages = (Stage("basic", 1, 8, 1, 2), Stage("basic", 1, 12, 2, 2))
    net = EmotionNet(Architecture(stem=8, stages=stages, head=0)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.fill_(4)
    faces = np.random.default_rng(3).integers(0, 256, (40, 48, 48), np.uint8)
    inputs = normalize(torch.from_numpy(faces)).numpy()
    with quiet():
        exact = tflite.convert(InferenceNet(net))
        small = tflite.quantize(exact, tflite.calibrate(exact, inputs))
    assert any(layer.most == 6 for layer in read_layers(small).layers)
    session = load_onnxruntime().InferenceSession(
        onnx_files.from_tflite(small), providers=["CPUExecutionProvider"]
    )
    signed = (faces.astype(np.int16) - 128).astype(np.int8)
    found = session.run(["logits", "people"], {"faces": signed[:, None]})
    interpreter = Interpreter(model_content=small)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (40, 48, 48, 1))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], signed[..., None])
    interpreter.invoke()
    by_width = {
        int(result["shape"][-1]): interpreter.get_tensor(result["index"])
        for result in interpreter.get_output_details()
    }
    assert by_width.keys() == {7, 9}
    for logits, expected in zip(found, (by_width[7], by_width[9]), strict=True):
        assert len(np.unique(expected)) > 20
        assert np.abs(logits.ravel().astype(int) - expected.ravel()).max() <= 1


def test_manifest_tells_the_answer_to_the_reference_face(exported):
    from fer_edge.models.manifest import model_files
    from fer_edge.models.reference import reference_face

    for file in model_files(exported[0]):
        assert file.reference is not None
        logits = fer_edge.load_classifier(file.path).logits(reference_face()[None])
        assert logits.keys() == file.reference.logits.keys() == set(HEADS)
        for head, spec in file.outputs.items():
            real = (np.array(file.reference.logits[head]) - spec.zero_point) * spec.scale
            assert real.shape == (len(ANSWERS[head]),)
            np.testing.assert_allclose(logits[head][0], real, atol=1e-4)


def test_a_file_whose_layers_share_constants_loads_without_exact_sums(exported, tmp_path, monkeypatch):
    """As those of version 0.1 did; where ONNX Runtime can exchange weights, it refuses such files."""
    import onnx

    from fer_edge.export import onnx_files
    from fer_edge.models import backends

    proto = onnx.load(exported[0] / "edge-int8.onnx")
    onnx_files._compact(proto)
    content = proto.SerializeToString()
    manifest = json.loads((exported[0] / "manifest.json").read_text())
    entry = manifest["models"]["edge"]["files"]["edge-int8.onnx"]
    entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "edge-int8.onnx").write_bytes(content)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    expected = fer_edge.load_classifier(exported[0] / "edge-int8.onnx").logits(faces)
    # Only x86-64 has kernels to choose from.
    exact_elsewhere = platform.machine() != "x86_64"
    monkeypatch.setattr(backends, "_cuts_off_sums", lambda: True)
    with contextlib.nullcontext() if exact_elsewhere else pytest.warns(UserWarning, match="export the model"):
        found = fer_edge.load_classifier(tmp_path / "edge-int8.onnx").logits(faces)
    monkeypatch.undo()
    if not backends._cuts_off_sums():
        for head in HEADS:
            np.testing.assert_array_equal(found[head], expected[head])


def test_short_half_keeps_eight_significant_bits():
    values = np.random.default_rng(5).normal(0, 0.3, 10_000).astype(np.float32)
    values = values[np.abs(values) > 1e-3]  # below 6e-5 float16 itself has fewer bits
    short = short_half(values)
    assert not (short.view(np.uint16) & 7).any()
    assert np.abs(short / values - 1).max() <= 2**-8 + 2**-11  # of two roundings
    assert np.abs((short.astype(np.float64) - values).sum()) < 0.2  # up as often as down
    # 1 + 1/128 lies between 1 and 1 + 2/128, which is halfway: the even one of the two.
    np.testing.assert_array_equal(
        short_half(np.array([0.0, -0.0, 1.0, 1 + 1 / 256, 1 + 3 / 256, -2.5], np.float32)),
        np.array([0.0, -0.0, 1.0, 1.0, 1 + 4 / 256, -2.5], np.float16),
    )


@pytest.mark.parametrize("backend", ["litert", "onnx"])
def test_fp32_file_gives_the_logits_of_the_network(exported, trained_edge, drawn_csv, backend):
    folder, report = exported
    pixels = fer_edge.read_fer2013(drawn_csv).pixels
    net, _ = checkpoint.load_net(trained_edge)
    expected = predict_heads(net, torch.from_numpy(pixels))
    logits = fer_edge.load_classifier(folder, backend, "fp32").logits(pixels)
    for head in HEADS:
        wanted = getattr(expected, head).numpy() / report.temperature[head]
        np.testing.assert_allclose(logits[head], wanted, atol=0.1)


def test_int8_files_agree_with_each_other_and_the_network(exported):
    _, report = exported
    assert report.accuracy.keys() == set(HEADS)
    assert min(report.accuracy.values()) > 70
    assert report.agreement["int8"] == dict.fromkeys(report.accuracy, 1)
    assert report.steps <= 1
    for name in ("edge-int8.tflite", "edge-int8.onnx"):
        for head in HEADS:
            assert report.parity[name][head].agreement >= 0.95


@pytest.mark.parametrize("backend", ["litert", "onnx"])
def test_each_output_is_told_from_the_other_by_its_width(exported, drawn_csv, backend):
    """Labels and votes are of different heads, and both tell drawn faces apart."""
    dataset = fer_edge.read_fer2013(drawn_csv)
    told = fer_edge.load_classifier(exported[0], backend).distributions(dataset.pixels)
    assert {head: rows.shape[1] for head, rows in told.items()} == {"people": 9, "fer2013": 7}
    for rows in told.values():
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
        assert (rows.argmax(1) == dataset.labels).mean() > 0.7
    # A single vote for "unknown" does not count, and nobody said "contempt".
    assert told["people"][:, len(EMOTIONS) :].sum(1).mean() < 0.1
    assert np.abs(told["people"][:, : len(EMOTIONS)] - told["fer2013"]).max() > 0.01


def test_folding_does_not_change_the_logits(trained_edge):
    net, _ = checkpoint.load_net(trained_edge)
    faces = torch.randint(0, 256, (8, 48, 48), dtype=torch.uint8)
    with torch.inference_mode():
        labels, people = InferenceNet(net, {"fer2013": 2.0, "people": 3.0})(normalize(faces))
        expected = net(normalize(faces))
        np.testing.assert_allclose(labels.flatten(1) * 2, expected.fer2013, atol=1e-4)
        np.testing.assert_allclose(people.flatten(1) * 3, expected.people, atol=1e-4)
    assert not [module for module in InferenceNet(net).modules() if isinstance(module, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize(("option", "least"), [("--rows", 1), ("--seed", 0)])
def test_a_number_below_its_least_is_named(cli, trained_tiny, drawn_csv, tmp_path, option, least):
    out = tmp_path / "exported"
    code, _, err = cli("export-int8", trained_tiny, "--calibration", drawn_csv, "--out", out, option, -1)
    assert code == 2
    assert f"{option} must be at least {least}, got -1\n" in err
    assert not out.exists()


def test_an_existing_model_is_replaced_only_with_force_and_others_stay(
    cli, exported, trained_edge, trained_tiny, drawn_csv, tmp_path
):
    folder, _ = exported
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    arguments = ("--calibration", drawn_csv, "--out", folder)
    code, _, err = cli("export-int8", trained_edge, *arguments)
    assert code == 2
    assert "--force" in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    former = tmp_path / "former.pt"
    state = checkpoint.load(trained_tiny)
    state["options"]["smoothing"] = state["options"].pop("label_smoothing")
    state["bank_views"] = 4
    checkpoint.save(former, {key: value for key, value in state.items() if key != "format"})
    code, out, err = cli("export-int8", former, *arguments, "--model", "second", "--rows", 20, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["rows"] == 35
    assert report["accuracy"].keys() == report["temperature"].keys() == {"fer2013"}
    assert report["people"] is None
    assert err.count(f"{former}: written by an earlier version: smoothing is now called label_smoothing") == 1
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["models"].keys() == {"edge", "second"}
    assert manifest["models"]["second"]["training_options"]["label_smoothing"] == 0.1
    assert manifest["models"]["second"]["bank_views"] == 4
    assert "bank_views" not in manifest["models"]["edge"]
    assert (folder / "edge-int8.onnx").read_bytes() == before["edge-int8.onnx"]
    with pytest.raises(fer_edge.ModelError, match="edge, second"):
        fer_edge.load_classifier(folder)
    assert not {"people", "balance_from"} & manifest["models"]["second"].keys()
    for name in ("second-int8.tflite", "second-fp32.onnx"):
        assert fer_edge.load_classifier(folder / name, labels="fer2013").heads == ("fer2013",)
        with pytest.raises(
            fer_edge.ModelError, match=f"{name}: answers with the labels of 2013 only; choose"
        ):
            fer_edge.load_classifier(folder / name)
    for path in folder.glob("second-*"):
        path.unlink()
    (folder / "manifest.json").write_bytes(before["manifest.json"])


def converted(folder: Path) -> list[Converted]:
    """The files of ``edge`` in ``folder`` as they came out of the conversion."""
    files = [fer_edge.load_classifier(folder / name).file for name in sorted(FILES)]
    return [Converted(file.backend, file.precision, file.read(), file.input, file.outputs) for file in files]


def test_files_that_fail_the_check_are_not_written(
    exported, trained_edge, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    original = pipeline.check_files

    def spoiled(*arguments):
        bad = Parity(accuracy=50, drop=1.5, agreement=0.9, largest_difference=3)
        report = original(*arguments)
        return replace(
            report,
            rows=3310,
            parity={"edge-int8.onnx": {"people": bad}},
            agreement={"int8": {"people": 0.98}},
            steps=0,
        )

    monkeypatch.setattr(pipeline, "convert", lambda *arguments: converted(exported[0]))
    monkeypatch.setattr(pipeline, "check_files", spoiled)
    with pytest.raises(
        ParityError, match=r"edge-int8\.onnx loses 1\.50 points of people.*98\.00% of rows of"
    ):
        pipeline.export(
            trained_edge, fer_edge.read_fer2013(drawn_csv), tmp_path / "out", votes=read_votes(drawn_votes)
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_other_rows_calibrate_where_files_fail_the_check(
    exported, trained_edge, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    """All 140 Training rows, which every seed would choose, and then four fifths of them, 112."""
    original, calibrating, said = pipeline.check_files, [], []
    monkeypatch.setattr(
        pipeline, "convert", lambda _, faces, *__: calibrating.append(faces) or converted(exported[0])
    )

    def apart(*arguments):
        return replace(original(*arguments), steps=(3, 3, 2)[len(calibrating) - 1])

    monkeypatch.setattr(pipeline, "check_files", apart)
    dataset = fer_edge.read_fer2013(drawn_csv)
    pipeline.export_by_some_seed(
        trained_edge, dataset, tmp_path, votes=read_votes(drawn_votes), progress=said.append
    )
    assert [len(faces) for faces in calibrating] == [140, 112, 112]
    assert not np.array_equal(calibrating[1], calibrating[2])
    (model,) = json.loads((tmp_path / "manifest.json").read_text())["models"].values()
    assert (model["calibration"]["rows"], model["calibration"]["seed"]) == (112, 3)
    assert [line for line in said if "seed" in line] == [
        "nothing was written: ONNX and TFLite int8 logits differ by 3 steps (at most 2); trying other "
        f"calibration rows, of seed {seed}"
        for seed in (2, 3)
    ]


def test_an_export_that_fails_the_check_is_told_of_other_rows(
    cli, trained_tiny, drawn_csv, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise CalibrationError("nothing was written: three steps apart")

    monkeypatch.setattr(pipeline, "export", fail)
    code, _, err = cli("export-int8", trained_tiny, "--calibration", drawn_csv, "--out", tmp_path / "out")
    assert code == 1
    assert "three steps apart. Chance decides much" in err
    assert "others (--seed, and fewer --rows where they are all of Training)" in err


def test_a_network_with_a_head_for_people_is_not_exported_without_votes(
    cli, trained_edge, drawn_csv, tmp_path, monkeypatch
):
    """FERPLUS_CSV belongs to FER2013_CSV, and counts for no other calibration rows."""
    monkeypatch.setenv("FER2013_CSV", "fer2013.csv")
    monkeypatch.setenv("FERPLUS_CSV", str(tmp_path / "votes-of-fer2013.csv"))
    code, _, err = cli("export-int8", trained_edge, "--calibration", drawn_csv, "--out", tmp_path / "out")
    assert code == 2
    assert f"{trained_edge}: answers for people, too; give the FER+ votes" in err
    monkeypatch.setenv("FER2013_CSV", str(drawn_csv))
    code, _, err = cli("export-int8", trained_edge, "--calibration", drawn_csv, "--out", tmp_path / "out")
    assert code == 2
    assert "votes-of-fer2013.csv" in err
    assert not (tmp_path / "out").exists()


def test_report_is_printed_for_both_heads(cli, exporting, trained_edge, drawn_csv, drawn_votes, monkeypatch):
    """The report is that of the export already made."""
    folder, report, _ = exporting
    given = []
    monkeypatch.setattr(pipeline, "export", lambda *_, **options: given.append(options) or report)
    arguments = ("--calibration", drawn_csv, "--votes", drawn_votes, "--out", folder)
    code, out, err = cli("export-int8", trained_edge, *arguments, "--balance", "0.5")
    assert code == 0, err
    np.testing.assert_array_equal(given[0]["votes"], read_votes(drawn_votes))
    assert given[0]["balance"] == 0.5
    for head in HEADS:
        assert f"edge, {head}: PyTorch fp32 {report.accuracy[head]:.2f} % of 35 held-out rows" in out
    assert out.count("edge-int8.tflite") == 2
    assert f"people: balance {report.people.balance:g}, unsure above" in out


def test_a_balance_is_refused_where_it_is_none_or_has_nothing_to_choose_among(
    cli, trained_tiny, trained_edge, drawn_csv, tmp_path
):
    state = checkpoint.load(trained_edge)
    del state["format"]
    settings = asdict(People((1 / 7,) * 7, 0.5, 1.0))
    checkpoint.save(tmp_path / "settings.pt", state | {"people": settings})

    def refusal(file: Path, balance: str) -> str:
        code, _, err = cli(
            "export-int8", file, "--calibration", drawn_csv, "--out", tmp_path / "out", "--balance", balance
        )
        assert code == 2
        return err

    assert "'3' is not a number from 0 to 2" in refusal(trained_edge, "3")
    assert f"{trained_tiny}: has no head people" in refusal(trained_tiny, "0.5")
    assert "settings.pt: a balance needs FER+ votes" in refusal(tmp_path / "settings.pt", "0.5")
    with pytest.raises(fer_edge.DataError, match=r"from 0 to 2, got 2\.5"):
        pipeline.export(trained_edge, fer_edge.read_fer2013(drawn_csv), tmp_path / "out", balance=2.5)
    assert not (tmp_path / "out").exists()


def test_a_file_of_arrays_calibrates_and_brings_its_votes(
    cli, exporting, trained_edge, drawn_csv, drawn_votes, tmp_path, monkeypatch
):
    folder, report, _ = exporting
    given = []
    monkeypatch.setattr(
        pipeline, "export", lambda _, data, *__, **options: given.append((data, options["votes"])) or report
    )
    csv, votes = fer_edge.read_fer2013(drawn_csv), read_votes(drawn_votes)
    arrays = {"pixels": csv.pixels, "labels": csv.labels.astype(np.uint8), "usage": csv.usage, "votes": votes}
    np.savez(tmp_path / "data.npz", **arrays)
    code, _, err = cli(
        "export-int8", trained_edge, "--calibration", tmp_path / "data.npz", "--out", folder, "--json"
    )
    assert code == 0, err
    ((dataset, found),) = given
    np.testing.assert_array_equal(found, votes)
    np.testing.assert_array_equal(dataset.pixels, csv.pixels)
    np.testing.assert_array_equal(dataset.labels, csv.labels)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photographs of one face, in two emotions: 20 to train on, 4 to check on."""
    skimage = pytest.importorskip("skimage.data")
    astronaut = skimage.astronaut()[:, :, ::-1]
    folder = tmp_path_factory.mktemp("photos")
    for part, count in (("train", 10), ("test", 2)):
        for emotion, step in (("happy", 1), ("sad", -1)):
            (folder / part / emotion).mkdir(parents=True)
            for index in range(count):
                last = 300 + 4 * index + (2 if part == "test" else 0)
                cv2.imwrite(str(folder / part / emotion / f"{index}.png"), astronaut[:last, ::step])
    return folder


@pytest.fixture(scope="module")
def trained_on_photos(photos, tmp_path_factory):
    """Checkpoints of networks that learned from the photographs, by whether the faces were found in them."""
    stages = (Stage("fused", 1, 8, 1, 2),)
    found = {}
    for detect in (True, False):
        net = EmotionNet(Architecture(stem=8, stages=stages, head=16, dropout=0.0), people=False)
        folder = tmp_path_factory.mktemp(f"detect-{detect}")
        data, _ = load_training_data(photos, detect=detect)
        fit(data, TrainOptions(epochs=1, batch=4, warmup=0, ema=0.5), folder, start=net)
        found[detect] = folder / "best.pt"
    return found


@pytest.mark.parametrize("learned", [True, False])
def test_photographs_calibrate_only_as_they_were_learned_from(
    cli, photos, trained_on_photos, tmp_path, learned
):
    assert checkpoint.load(trained_on_photos[learned])["detected"] is learned
    given = ("export-int8", trained_on_photos[learned], "--calibration", photos, "--out", tmp_path / "out")
    code, _, err = cli(*given, *([] if learned else ["--detect"]))
    assert code == 2
    assert ("add --detect" if learned else "leave --detect out") in err
    assert not (tmp_path / "out").exists()


def test_photographs_are_read_for_an_export_as_they_are_for_training(
    cli, photos, trained_on_photos, tmp_path, monkeypatch
):
    given = []
    monkeypatch.setattr(pipeline, "export", lambda _, data, *__, **___: given.append(data) or NO_REPORT)
    command = ("export-int8", trained_on_photos[True], "--calibration", photos, "--out", tmp_path / "out")
    for options in ((), ("--detect",)):
        code, _, err = cli(*command, *options)
        assert code == 0, err
        learned = load_training_data(photos, detect=bool(options))[1]
        np.testing.assert_array_equal(given[-1].pixels, learned.pixels)
        np.testing.assert_array_equal(given[-1].usage, learned.usage)
    assert not np.array_equal(given[0].pixels, given[1].pixels)


def test_a_checkpoint_that_does_not_tell_how_its_data_were_cut_is_exported_with_either(
    photos, trained_on_photos, tmp_path, monkeypatch
):
    state = checkpoint.load(trained_on_photos[True])
    checkpoint.save(
        tmp_path / "old.pt", {name: state[name] for name in state.keys() - {"format", "detected"}}
    )

    class Reached(Exception):
        pass

    def reached(*_):
        raise Reached

    monkeypatch.setattr(pipeline, "choose_rows", reached)
    for detect in (True, False):
        with pytest.raises(Reached):
            pipeline.export(
                tmp_path / "old.pt", read_labelled(photos, detect=detect), tmp_path / "out", model="tiny"
            )


def test_bad_rows_are_skipped_for_an_export_as_for_training(
    cli, trained_edge, drawn_csv, tmp_path, monkeypatch
):
    given = []
    monkeypatch.setattr(pipeline, "export", lambda _, data, *__, **___: given.append(data) or NO_REPORT)
    bad = tmp_path / "bad.csv"
    bad.write_text(drawn_csv.read_text() + "3,1 2 3,Training\n")
    command = ("export-int8", trained_edge, "--calibration", bad, "--out", tmp_path / "out")
    code, _, err = cli(*command)
    assert code == 2 and not given
    code, _, err = cli(*command, "--skip-bad")
    assert code == 0, err
    assert err.count("skipped: ") == 1 and "row 211" in err
    np.testing.assert_array_equal(given[0].pixels, fer_edge.read_fer2013(drawn_csv).pixels)
    code, _, err = cli(*command, "--skip-bad", "--votes", tmp_path / "votes.csv")
    assert code == 2 and "votes are matched by row" in err


@pytest.mark.parametrize("name", ["../evil", "a/b", "/abs", "x.onnx"])
def test_a_model_name_cannot_leave_the_folder(trained_edge, drawn_csv, tmp_path, name):
    with pytest.raises(fer_edge.DataError, match="model name"):
        pipeline.export(trained_edge, fer_edge.read_fer2013(drawn_csv), tmp_path / "out", model=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("crop", [44, 0])
def test_a_network_that_looks_at_a_part_of_the_face_is_refused_before_anything_is_converted(
    trained_tiny, drawn_csv, tmp_path, monkeypatch, crop
):
    class Reached(Exception):
        pass

    def reached(*_):
        raise Reached

    monkeypatch.setattr(pipeline, "choose_rows", reached)
    state = checkpoint.load(trained_tiny)
    state["architecture"]["crop"] = crop
    checkpoint.save(tmp_path / "vgg.pt", {name: state[name] for name in state.keys() - {"format"}})
    with pytest.raises(fer_edge.ModelError if crop else Reached, match="is a teacher" if crop else None):
        pipeline.export(tmp_path / "vgg.pt", fer_edge.read_fer2013(drawn_csv), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_loaded_fails_the_check_under_its_own_name(
    cli, trained_tiny, drawn_csv, tmp_path, monkeypatch
):
    ends = {"int8": TensorSpec("int8", 1 / 64, 0), "fp32": TensorSpec("float32", 1.0, 0)}
    broken = [
        Converted(backend, precision, b"TFL3" * 9, ends[precision], {"fer2013": ends[precision]})
        for backend in ("litert", "onnx")
        for precision in ("int8", "fp32")
    ]
    monkeypatch.setattr(pipeline, "convert", lambda *_: broken)
    out = tmp_path / "out"
    code, _, err = cli("export-int8", trained_tiny, "--calibration", drawn_csv, "--out", out)
    assert code == 1
    assert "nothing was written: edge-int8.tflite: LiteRT cannot load it" in err
    assert ".export-" not in err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("inside", ["", "models/edge"])
def test_a_file_as_folder_is_refused_before_anything_is_converted(
    cli, trained_tiny, drawn_csv, tmp_path, monkeypatch, inside
):
    monkeypatch.setattr(pipeline, "convert", None)
    (tmp_path / "edge.tflite").write_text("precious")
    code, _, err = cli(
        *("export-int8", trained_tiny, "--calibration", drawn_csv, "--out", tmp_path / "edge.tflite" / inside)
    )
    assert code == 2
    assert f"{tmp_path / 'edge.tflite'}: is no folder; --out names the folder" in err
    assert (tmp_path / "edge.tflite").read_text() == "precious"


def test_a_foreign_file_under_the_name_of_an_output_is_not_replaced(trained_edge, drawn_csv, tmp_path):
    (tmp_path / "edge-int8.onnx").write_text("precious")
    with pytest.raises(fer_edge.ModelError, match=r"edge-int8\.onnx: exists already"):
        pipeline.export(trained_edge, fer_edge.read_fer2013(drawn_csv), tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_weights_that_are_not_finite_are_refused(trained_edge, tmp_path):
    state = checkpoint.load(trained_edge)
    state["ema"]["classifier.weight"].fill_(float("nan"))
    checkpoint.save(tmp_path / "nan.pt", {key: value for key, value in state.items() if key != "format"})
    with pytest.raises(checkpoint.CheckpointError, match="not finite"):
        checkpoint.load_net(tmp_path / "nan.pt")
    del state["ema"]
    checkpoint.save(tmp_path / "less.pt", {key: value for key, value in state.items() if key != "format"})
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        checkpoint.load_net(tmp_path / "less.pt")


def test_a_csv_without_usage_cannot_calibrate(cli, trained_edge, tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("emotion,pixels\n3," + " ".join(["9"] * 2304) + "\n")
    code, _, err = cli("export-int8", trained_edge, "--calibration", path, "--out", tmp_path / "out")
    assert code == 2
    assert "a Usage (columns of a CSV, arrays of an .npz file, or a folder's train/ and test/)" in err
    assert not (tmp_path / "out").exists()


def test_only_public_test_rows_outside_training_choose_and_check(tmp_path):
    path = write_csv(tmp_path / "all.csv", {"Training": 3, "PublicTest": 2, "PrivateTest": 4})
    data = fer_edge.read_fer2013(path)
    rows = choose_rows(data, None, 100, 0)
    assert (len(rows.calibration), len(rows.check)) == (21, 14)
    np.testing.assert_array_equal(rows.check.faces, data.pixels[data.usage == "PublicTest"])
    data = replace(data, usage=np.where(data.usage == "PublicTest", "PrivateTest", data.usage))
    with pytest.raises(fer_edge.DataError, match="have 21 Training rows and 0 PublicTest rows"):
        choose_rows(data, None, 100, 0)


def test_a_missing_checkpoint_is_named(cli, drawn_csv, tmp_path):
    code, _, err = cli("export-int8", tmp_path / "no.pt", "--calibration", drawn_csv, "--out", tmp_path / "o")
    assert code == 2
    assert "no.pt" in err


def test_exported_model_evaluates_and_runs(cli, exported, drawn_csv):
    code, out, _ = cli("evaluate", drawn_csv, "--usage", "PublicTest", "--model", exported[0], "--json")
    assert code == 0
    assert json.loads(out)["all"]["fer2013"]["labels"]["accuracy"] > 0.7
    code, out, err = cli("run", "--camera", "demo", "--frames", "3", "--model", exported[0], "--jsonl", "-")
    assert code == 0, err
    assert out.count('"type":"frame"') == 3
