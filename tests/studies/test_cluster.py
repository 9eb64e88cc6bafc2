"""A local Ray cluster of two nodes: the same results as without, and a killed worker's work is done again."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import little_settings
from v2m4.errors import V2M4Error
from v2m4.studies.batch import Job, do_all
from v2m4.studies.cluster import fan_out

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_nodes():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def square_or_be_killed(item: tuple[int, str]) -> tuple[int, int]:
    """The square of a number; the first attempt at 3 tells its process and waits to be killed."""
    number, folder = item
    mark = Path(folder) / "victim"
    if number == 3 and not mark.exists():
        mark.write_text(str(os.getpid()))
        time.sleep(600)
    return number, number**2


def test_a_killed_workers_item_is_done_again(two_nodes, tmp_path):
    def kill() -> None:
        mark = tmp_path / "victim"
        while not (mark.exists() and mark.read_text()):
            time.sleep(0.1)
        os.kill(int(mark.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    found = dict(fan_out(square_or_be_killed, [(n, str(tmp_path)) for n in range(6)], "auto"))
    killer.join(5)
    assert not killer.is_alive()
    assert found == {n: n**2 for n in range(6)}


def test_clips_give_the_same_files_as_without_a_cluster(two_nodes, finished, lizard, tmp_path):
    _, alone, settings = finished
    jobs = [Job(lizard, settings, tmp_path / name / "lizard") for name in ("one", "two")]
    jobs.append(Job(tmp_path / "gone.mp4", little_settings(), tmp_path / "gone"))
    outcomes = {outcome.job.output.parent.name: outcome for outcome in do_all(jobs, ray="auto")}
    assert "gone.mp4" in outcomes[tmp_path.name].problem
    want = hashlib.sha256((alone / "animation.glb").read_bytes()).digest()
    for name in ("one", "two"):
        assert hashlib.sha256(outcomes[name].files["glb"].read_bytes()).digest() == want


def test_no_cluster_is_a_sentence():
    ray.shutdown()
    with pytest.raises(V2M4Error, match="No Ray cluster answers at “127.0.0.1:1”"):
        list(fan_out(abs, [1], "127.0.0.1:1"))
