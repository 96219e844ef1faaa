"""The temperature at which logits are as sure as they are right."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

from fer_edge.export.temperature import fit_temperature


def test_temperature_of_overconfident_logits_is_what_was_multiplied():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 7, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)


def test_temperature_makes_logits_as_sure_as_they_are_right():
    """One answer to everything, right three times of four."""
    logits = torch.tensor([[4.0, 4.2, 0, 0, 0, 0, 0]]).repeat(1000, 1)
    labels = (torch.arange(1000) % 4 != 0).long()
    sure = (logits / fit_temperature(logits, labels)).softmax(1).amax(1).mean()
    assert sure == pytest.approx(0.75, abs=0.01)


def test_temperature_of_few_rows_is_moderate():
    logits = torch.eye(7)[torch.arange(14) % 7] * 3
    right = torch.arange(14) % 7
    assert 0.3 < fit_temperature(logits, right) < 2
    assert fit_temperature(logits, (right + 1) % 7) == pytest.approx(20, rel=0.01)
