"""Workers on Ray that give way to other processes are warned of; test_ray.py has the cluster."""

import logging

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("ray")

from fer_edge.archive.on_ray import RayEngine


@pytest.mark.parametrize(("niceness", "warnings"), [(0, 0), (4, 0), (5, 1), (15, 1)])
def test_a_cluster_whose_workers_give_way_is_told_once(caplog, niceness, warnings):
    engine = RayEngine.__new__(RayEngine)
    engine._warned = False
    with caplog.at_level(logging.WARNING):
        engine._warn(niceness)
        engine._warn(niceness)
    assert len(caplog.messages) == warnings
    assert all(
        f"niceness of {niceness}" in told and "RAY_worker_niceness=0" in told for told in caplog.messages
    )
