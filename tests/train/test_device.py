"""Training on a GPU, as far as it can be checked without one: on PyTorch's device without memory.

Tensors on the device ``meta`` have no values, so that reading one fails, as does computing with one of
another device: what would make a GPU wait, or would not run there at all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from torch.utils._python_dispatch import TorchDispatchMode

from fer_edge.train import augment, bank, data, epoch
from fer_edge.train.accelerate import compiled
from fer_edge.train.architectures import ARCHITECTURES
from fer_edge.train.averaging import AveragedNet
from fer_edge.train.bank import Bank
from fer_edge.train.batch_norm import folded_copy
from fer_edge.train.budget import Budget
from fer_edge.train.data import DeviceData
from fer_edge.train.distributed import World
from fer_edge.train.epoch import Learner, train_steps
from fer_edge.train.model import EmotionNet, Heads, normalize
from fer_edge.train.optimizer import Optimizer
from fer_edge.train.options import HARD_LIGHT, Augmentation, TrainOptions

META = torch.device("meta")
ROWS = 40
OPTIONS = TrainOptions(model="tiny", batch=8, optimizer="muon", mixup=0.4, augmentation=HARD_LIGHT)
# Reading a value, moving one from or to the host, or a shape that depends on values.
READS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "lift_fresh", "equal")


class _Watching(TorchDispatchMode):
    """Notes what makes a device wait, and operations whose tensors are not all on ``device``."""

    def __init__(self, device):
        super().__init__()
        self.device = device
        self.waits, self.strangers, self.calls = [], [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        name = function.name().removeprefix("aten::").partition(".")[0]
        if name in READS:
            self.waits.append(name)
        found = function(*args, **(kwargs or {}))
        tensors = [
            value
            for value in torch.utils._pytree.tree_leaves((args, kwargs, found))
            if isinstance(value, torch.Tensor)
        ]
        if any(value.device != self.device for value in tensors):
            self.strangers.append(name)
        if name == "index" and any(t is not None and t.dtype == torch.bool for t in args[1]):
            self.waits.append("index by a mask")
        return found


def _rows(device, way, views=3):
    def empty(*shape, dtype=torch.float32):
        return torch.zeros(shape, dtype=dtype, device=device)

    heads = Heads(empty(views, ROWS, 7), empty(views, ROWS, 9))
    teacher = folded_copy(EmotionNet(ARCHITECTURES["tiny-teacher"])).to(device)
    faces = empty(ROWS, 48, 48, dtype=torch.uint8)
    return DeviceData(
        faces=faces,
        labels=empty(ROWS, dtype=torch.int64),
        votes=empty(ROWS, 9),
        teacher=Heads(heads.fer2013[0], heads.people[0]) if way == "stored" else None,
        bank=Bank(empty(views, ROWS, 48, 48, dtype=torch.uint8), heads) if way == "bank" else None,
        live_teachers=(teacher,) if way == "live" else (),
        val_faces=faces,
        val_labels=empty(ROWS, dtype=torch.int64),
        val_votes=empty(ROWS, 9),
    )


def _learner(device, options=OPTIONS):
    net = EmotionNet(ARCHITECTURES[options.model]).to(device)
    net.to(memory_format=torch.channels_last)
    optimizer = Optimizer(net, options.optimizer, options.learning_rate, options.weight_decay)
    return Learner(net, net, AveragedNet(net, 0.9), optimizer)


@pytest.fixture
def no_constants():
    """Constants that were moved to a device stay there: those of ``meta`` are made before it is watched."""
    for constants in (augment._binomial, augment._jpeg_tables):
        constants(META)
    augment._coarse_matrices(48, META)


@pytest.fixture
def without_generator(monkeypatch):
    """The device ``meta`` has no generators, and needs none."""
    for module in (epoch, data):
        monkeypatch.setattr(module, "device_generator", lambda device, seed: None)


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
@pytest.mark.parametrize("way", ["none", "stored", "live", "bank"])
def test_steps_read_nothing_from_the_device_and_stay_on_it(no_constants, without_generator, way, optimizer):
    options = replace(OPTIONS, optimizer=optimizer, model="edge" if way == "bank" else "tiny")
    rows, learner = _rows(META, way), _learner(META, options)
    order = torch.zeros(5, 8, dtype=torch.int64, device=META)
    with _Watching(META) as watching:
        sums = train_steps(learner, rows, options, 0, order, World(), Budget(1000.0))
    assert (sums.steps, sums.seen) == (5, 40)
    assert watching.calls > 1000
    assert watching.waits == []
    assert watching.strangers == []


def test_the_watch_notices_what_it_is_there_for():
    value = torch.ones(3)
    with _Watching(torch.device("cpu")) as watching:
        value.sum().item()
        torch.tensor([1.0])
        value[value > 0]
        value.to(META)
    assert watching.waits == ["_local_scalar_dense", "lift_fresh", "index by a mask"]
    assert watching.strangers == ["_to_copy"]


def test_a_bank_is_made_on_the_device(no_constants):
    teachers = [folded_copy(EmotionNet(ARCHITECTURES[name])).to(META) for name in ("tiny", "vgg")]
    faces = torch.zeros(6, 48, 48, dtype=torch.uint8, device=META)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank, "_wait_for", lambda value: None)
        with _Watching(META) as watching:
            made = bank.make_bank(teachers, faces, 2, HARD_LIGHT, None)
    assert made.views.shape == (2, 6, 48, 48)
    assert made.answers.people.shape == (2, 6, 9)
    assert watching.waits == watching.strangers == []


def test_the_compiled_network_learns_as_the_network_itself(capsys):
    """Whole, by the compiler's front; code for a CPU is not made here."""
    torch.manual_seed(0)
    net = EmotionNet(ARCHITECTURES["tiny"])
    inputs = normalize(torch.randint(0, 256, (8, 48, 48), dtype=torch.uint8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    module = compiled(net, inputs, backend="aot_eager")
    assert capsys.readouterr().err == ""
    assert module is not net
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    gradients = []
    for called in (net, module):
        net.load_state_dict(before)
        net.zero_grad()
        output = called(inputs)
        (output.fer2013.square().sum() + output.people.square().sum()).backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
    explained = torch._dynamo.explain(net)(inputs)
    assert explained.graph_break_count == 0


def test_where_the_compiler_fails_training_goes_on_without(capsys):
    def broken(graph, inputs):
        raise RuntimeError("no Triton\nand more")

    net = EmotionNet(ARCHITECTURES["tiny"])
    assert compiled(net, torch.zeros(8, 1, 48, 48), backend=broken) is net
    assert "torch.compile does not work here" in capsys.readouterr().err
    assert all(p.grad is None for p in net.parameters())
    assert int(net.features[0].norm.num_batches_tracked) == 0


def test_a_bank_holds_what_teachers_say_of_its_views():
    torch.manual_seed(2)
    nets = [EmotionNet(ARCHITECTURES["tiny"]).eval() for _ in range(2)]
    for net in nets:
        net.classifier.weight.data *= 300
    faces = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8))
    made = bank.make_bank(nets, faces, 4, HARD_LIGHT, torch.Generator().manual_seed(1))
    # The last one is not varied, but for mirroring.
    plain = made.views[-1].float()
    assert (
        torch.minimum((plain - faces).abs().amax((1, 2)), (plain - faces.flip(2)).abs().amax((1, 2))).max()
        <= 1
    )
    for view, answers, people in zip(made.views, made.answers.fer2013, made.answers.people, strict=True):
        with torch.no_grad():
            heads = [net(normalize(image)) for net in nets for image in (view, view.flip(2))]
        torch.testing.assert_close(
            answers, torch.stack([h.fer2013 for h in heads]).mean(0), rtol=1e-3, atol=1e-3
        )
        torch.testing.assert_close(
            people, torch.stack([h.people for h in heads]).mean(0), rtol=1e-3, atol=1e-3
        )
    # By chance mirrored, and shifted by two pixels at most; answers go with the view.
    index = torch.tensor([3, 0, 3, 1] * 50)
    drawn, answers = made.draw(index, 1.0, torch.Generator().manual_seed(0))
    for row in range(0, 200, 17):
        at = [
            view
            for view in range(4)
            if torch.equal(made.answers.fer2013[view, index[row]], answers.fer2013[row])
        ]
        assert at[0] >= 2
        inner = drawn[row, 8:40, 8:40]
        source = made.views[at[0], index[row]]
        turned = [source, source.flip(1)]
        assert any(
            torch.equal(inner, image[8 + y : 40 + y, 8 + x : 40 + x])
            for image in turned
            for y in range(-2, 3)
            for x in range(-2, 3)
        )


def test_a_bank_ends_with_its_time_but_has_one_view():
    net = EmotionNet(ARCHITECTURES["tiny"]).eval()
    faces = torch.zeros(4, 48, 48, dtype=torch.uint8)
    made = bank.make_bank([net], faces, 50, HARD_LIGHT, torch.Generator(), seconds=1e-6)
    assert len(made.views) == 1


@pytest.mark.parametrize(
    ("views", "seconds", "strengths"),
    [(5, None, [85, 62, 47, 24, 0]), (5, 1e-6, [62]), (1, None, [62])],
)
def test_views_of_a_bank_are_varied_but_for_the_last(monkeypatch, views, seconds, strengths):
    """Multiples of the golden ratio, 0.618…, less whole ones, here in per cent: 62, 24, 85, 47, and 0."""

    def show(faces, augmentation, generator):
        return torch.full(faces.shape, augmentation.rotation)

    monkeypatch.setattr(bank, "augment", show)
    made = bank.make_bank(
        *([EmotionNet(ARCHITECTURES["tiny"]).eval()], torch.zeros(4, 48, 48, dtype=torch.uint8), views),
        *(Augmentation(rotation=100), torch.Generator()),
        seconds=seconds,
    )
    assert made.views[:, 0, 0, 0].tolist() == strengths
