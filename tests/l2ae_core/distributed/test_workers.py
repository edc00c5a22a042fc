"""`l2ae cluster` and `score` on a Dask cluster: the rows of one process, in order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands, data, method
from l2ae_core.cli import main
from l2ae_core.commands import load_fitted
from l2ae_core.data import DataError
from l2ae_core.data.packed_names import write_names
from l2ae_core.distributed import workers as module
from l2ae_core.distributed.workers import Workers
from l2ae_core.images import AT_ONCE
from l2ae_core.tables import join_rows
from l2ae_kernels.arrays import Array

pytest.importorskip("distributed.client")  # "distributed" is also a folder of tests

N = 5 * AT_ONCE + 17  # five parts, the last of them larger
pytestmark = pytest.mark.filterwarnings("default")  # of Dask's own


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, beside new.npy (N, 6, 6) uint8."""
    folder = tmp_path_factory.mktemp("cluster")
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 256, (3, 6, 6))
    x = shapes[rng.integers(3, size=N)] // 2 + rng.integers(0, 90, (N, 6, 6))
    np.save(folder / "new.npy", x.astype(np.uint8))
    np.save(folder / "train.npy", x[:600].astype(np.uint8))
    given = {"data": str(folder / "train.npy"), "model": "dense", "hidden": (8,), "latent_dim": 3,
             "clusters": 3, "n_init": 1, "epochs": 1}  # fmt: skip
    commands.fit(folder / "run", given, progress=False)
    return folder / "run"


@pytest.fixture(scope="module")
def here() -> Iterator[str]:
    """The address of a cluster in this process, of two threads."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("command", [["cluster"], ["score"], ["score", "--top", "40"]])
@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_the_bytes_are_those_of_one_process(
    command: list[str], ending: str, run: Path, here: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    call = [*command, str(run), "--data", str(run.parent / "new.npy"), "--quiet"]
    alone, together = tmp_path / f"alone.{ending}", tmp_path / f"together.{ending}"
    assert main([*call, "--device", "cpu", "--out", str(alone)]) == 0
    said = capsys.readouterr()
    assert main([*call, "--cluster", here, "--out", str(together)]) == 0
    assert capsys.readouterr() == said
    assert together.read_bytes() == alone.read_bytes()
    assert len(alone.read_bytes()) > 1000


def test_floating_point_rows_and_grey_for_colour(run: Path, here: str, tmp_path: Path) -> None:
    x = np.load(run.parent / "new.npy")[: AT_ONCE + 900]
    np.save(tmp_path / "rows.npy", (x / 255).reshape(len(x), 36))
    np.save(tmp_path / "grey.npy", x)
    np.save(tmp_path / "colour.npy", np.repeat(x[:99, ..., None], 3, axis=3))
    tiny = {"model": "dense", "hidden": (8,), "latent_dim": 3, "clusters": 2, "n_init": 1,
            "epochs": 1}  # fmt: skip
    for train, shape, new in (("rows", (6, 6), "rows"), ("colour", None, "grey")):
        given = {**tiny, "data": str(tmp_path / f"{train}.npy"), "image_shape": shape}
        commands.fit(tmp_path / train, given, progress=False)
        source = str(tmp_path / f"{new}.npy")
        alone, _ = commands.score(tmp_path / train, source, progress=False)
        together, _ = commands.score(tmp_path / train, source, cluster=here, progress=False)
        for name, column in alone.items():
            np.testing.assert_array_equal(together[name], column, err_msg=name)


def test_names_and_labels_beside_the_file_stay_here(run: Path, here: str, tmp_path: Path) -> None:
    path, labels = tmp_path / "packed.npy", np.arange(AT_ONCE + 900) % 3
    names = tuple(f"{i}.png" for i in range(len(labels)))
    write_names(path, names, labels, ("cat", "dog", "emu"))
    np.save(path, np.load(run.parent / "new.npy")[: len(labels)])
    for command, how in ((commands.score, {"anomaly_class": "dog"}), (commands.cluster, {})):
        alone, scores = command(run, str(path), progress=False, **how)
        together, same = command(run, str(path), cluster=here, progress=False, **how)
        assert same == scores
        assert {"auc", "acc"} & set(same)
        for name in ("file", "label", "cluster"):
            np.testing.assert_array_equal(together[name], alone[name], strict=True)


def test_rows_come_while_others_are_computed(
    run: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more parts are under way than the threads need, however long the file is."""
    images = data.load(str(run.parent / "new.npy")).images
    with Workers(here) as workers:
        submitted: list[int] = []
        submit = workers._client.submit

        def counted(function: Any, *given: Any, **how: Any) -> Any:
            submitted.append(function is module._on_part)
            return submit(function, *given, **how)

        monkeypatch.setattr(workers._client, "submit", counted)
        monkeypatch.setattr(module, "AHEAD", 1)
        rows = workers.encoded(load_fitted(run).model, images)  # type: ignore[arg-type]
        next(rows)
        assert sum(submitted) == 2  # one for each thread
        assert len(list(rows)) == 4


def test_what_no_worker_can_do_is_named(
    run: Path, here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    new = str(run.parent / "new.npy")

    def error(*arguments: str) -> str:
        assert main([*arguments, "--quiet", "--out", str(tmp_path / "x.csv")]) == 1
        assert not (tmp_path / "x.csv").exists()
        return capsys.readouterr().err

    score = ("score", str(run), "--data", new, "--cluster")
    np.savez(tmp_path / "some.npz", images=np.load(new)[:9])
    assert "cluster: expected images in one .npy file" in error(
        "score", str(run), "--data", str(tmp_path / "some.npz"), "--cluster", here
    )
    assert "was given with device cuda" in error(*score, here, "--device", "cuda")
    assert "was given with clusters" in error(
        "cluster", str(run), "--data", new, "--cluster", here, "--clusters", "2-3"
    )
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    started = time.monotonic()
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:1' within 0.3 sec" in error(
        *score, "tcp://127.0.0.1:1"
    )
    assert "no Dask scheduler answers at 'elsewhere'" in error(*score, "elsewhere")
    assert time.monotonic() - started < 30
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert "cluster: needs Dask: pip install 'l2ae[dist]'" in error(*score, here)


def test_a_scheduler_without_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        pytest.raises(ValueError, match="has no worker, after 0.3 seconds"),
        Workers(cluster.scheduler_address),
    ):
        pass


def test_whoever_connects_leaves_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the block there is no client; one that waits for workers is closed by Ctrl-C."""
    from distributed import LocalCluster

    def interrupt(*arguments: Any) -> None:
        assert clients()
        raise KeyboardInterrupt

    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:

        def clients() -> list[str]:
            return [name for name in cluster.scheduler.clients if name.startswith("Client-")]

        def none_left() -> bool:
            end = time.monotonic() + 10
            while clients() and time.monotonic() < end:
                time.sleep(0.01)  # the scheduler learns of it from its event loop
            return not clients()

        workers = Workers(cluster.scheduler_address)
        assert not clients()
        with workers:
            assert len(clients()) == 1
        assert none_left()
        monkeypatch.setattr(module, "require_worker", interrupt)
        with pytest.raises(KeyboardInterrupt), workers:
            pass
        assert none_left()


def test_a_cluster_that_loses_all_workers_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    images = data.load(str(run.parent / "new.npy")).images
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Workers(cluster.scheduler_address) as workers,
    ):
        monkeypatch.setattr(module, "AHEAD", 1)
        rows = workers.encoded(load_fitted(run).model, images)  # type: ignore[arg-type]
        next(rows)
        cluster.scale(0)
        monkeypatch.setattr(module, "PATIENCE", 0.3)
        monkeypatch.setattr(module, "RETURN", 0.3)
        with pytest.raises(ConnectionError, match="cluster: .* has no worker, after 0.3 seconds"):
            list(rows)


def test_a_worker_that_sees_another_file_is_named(run: Path, here: str, tmp_path: Path) -> None:
    path = tmp_path / "new.npy"
    np.save(path, np.load(run.parent / "new.npy"))
    images = data.load(str(path)).images
    os.utime(path, ns=(1, 1))  # as a worker's own file would have another time
    model = load_fitted(run).model
    with Workers(here) as workers:
        with pytest.raises(DataError, match=r"worker inproc:.* does not see the file: .*new\.npy"):
            next(workers.encoded(model, images))  # type: ignore[arg-type]
        path.unlink()
        with pytest.raises(DataError, match=r"does not see the file: .*No such file"):
            next(workers.encoded(model, images))  # type: ignore[arg-type]


@pytest.fixture
def processes() -> Iterator[str]:
    """A cluster that gives a worker that was killed the time that a busy machine needs to start it.

    After lost-worker-timeout, 15 s by default, LocalCluster takes it away for good.
    """
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        yield cluster.scheduler_address


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_killed_workers_change_nothing(run: Path, processes: str) -> None:
    """All are killed, and with them the network, and the rows that nobody had taken yet."""
    from distributed import Client

    source = str(run.parent / "new.npy")
    expected, verdict = commands.score(run, source, progress=False)
    table = commands.score_table(run, source, cluster=processes, progress=False)
    rows = [next(table.chunks)]
    with Client(processes, set_as_default=False) as client:
        for process in client.run(os.getpid).values():
            os.kill(process, signal.SIGKILL)
    rows += table.chunks
    for name, column in join_rows(rows).items():
        np.testing.assert_array_equal(column, expected[name], strict=True, err_msg=name)
    assert table.result == verdict


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_an_error(
    run: Path, processes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does it when memory runs out: the function is sent by its name or by value."""

    def killed(images: Any, *given: Any) -> Array:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr(module, "_encode", killed)
    table = commands.cluster_table(
        run, str(run.parent / "new.npy"), cluster=processes, progress=False
    )
    with pytest.raises(ChildProcessError, match="workers were killed at images 0 to 8191"):
        next(table.chunks)


@pytest.mark.slow
def test_ctrl_c_leaves_the_cluster_as_it_was(run: Path, processes: str, tmp_path: Path) -> None:
    """A second command finds the workers free."""
    out, source = tmp_path / "x.csv", str(run.parent / "new.npy")
    call = [sys.executable, "-m", "l2ae_core", "score", str(run), "--data", source, "--quiet",
            "--cluster", processes, "--out", str(out)]  # fmt: skip
    with subprocess.Popen(call, stderr=subprocess.DEVNULL, start_new_session=True) as started:
        deadline = time.monotonic() + 90
        while not list(tmp_path.iterdir()):  # the table has begun
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        assert started.wait(60) == 130
    assert not list(tmp_path.iterdir())
    assert main(call[3:]) == 0
    assert len(out.read_text().splitlines()) == N + 1


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_any_number_of_workers(count: int, run: Path) -> None:
    from distributed import LocalCluster

    loaded = load_fitted(run)
    images = data.load(str(run.parent / "new.npy")).images
    expected = method.encode(loaded.model, images)
    with (
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0") as cluster,
        Workers(cluster.scheduler_address) as workers,
    ):
        found = np.concatenate(list(workers.encoded(loaded.model, images)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, expected, strict=True)
