"""Interrupted inferences go on to the same bits; a folder is one run's; damage is passed over."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import interrupted
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxsbi
from jaxsbi import checkpoints, streaming, training
from jaxsbi.checkpoints import Checkpoint


def weights(posterior):
    return jax.tree.leaves((posterior.params, posterior.constants, posterior.moments))


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, weights(found), weights(expected))
    for one, other in zip(found.history.rounds, expected.history.rounds, strict=True):
        assert (one.drawn, one.valid, one.used) == (other.drawn, other.valid, other.used)
        assert one.validation_losses == other.validation_losses


@pytest.fixture(scope="module")
def undisturbed():
    """What the two rounds give without a folder."""
    return interrupted.rounds()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run, to be copied."""
    folder = tmp_path_factory.mktemp("done") / "run"
    interrupted.rounds(folder)
    return folder


@pytest.fixture
def copy(done, tmp_path):
    return Path(shutil.copytree(done, tmp_path / "run"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return interrupted.stored(tmp_path_factory.mktemp("rows") / "store").address


@pytest.fixture(scope="module")
def streamed(store):
    return interrupted.streamed(store)


def test_a_folder_changes_no_bit(done, undisturbed):
    assert_same(jaxsbi.load(done / "posterior"), undisturbed)


@pytest.mark.parametrize(
    "lost",
    [
        ["posterior", "trainings/round-02-density"],
        ["posterior", "simulations/x0/c/0", "simulations/theta/c/1"],
        *(
            pytest.param(lost, marks=pytest.mark.slow)
            for lost in (
                ["posterior"],
                ["posterior", "trainings/round-01-validity", "trainings/round-02-validity"],
                ["posterior", "trainings"],
                ["posterior", "trainings", "simulations"],
            )
        ),
    ],
    ids=lambda lost: lost[-1],
)
def test_what_is_lost_is_made_anew_to_the_same_bits(copy, undisturbed, lost):
    for name in lost:
        shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
    with pytest.warns() if "simulations/x0/c/0" in lost else _nothing():
        assert_same(interrupted.rounds(copy), undisturbed)


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *exc):
        return None


def test_a_finished_run_is_read_back_without_work(copy, undisturbed, monkeypatch):
    monkeypatch.setattr("jaxsbi.rounds.collect", None)
    assert_same(interrupted.rounds(copy), undisturbed)


def test_an_altered_posterior_follows_anew_from_what_is_kept(copy, undisturbed):
    path = copy / "posterior" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert_same(interrupted.rounds(copy), undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_that_goes_on_with_the_same_call(
    tmp_path, undisturbed, monkeypatch, number
):
    calls, report = [], training.report

    def press(*arguments):
        calls.append(None)
        if len(calls) == 3:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(training, "report", press)
    monkeypatch.setattr(training, "MAX_SLICE_EPOCHS", 2)
    if number == signal.SIGTERM:
        with pytest.raises(SystemExit):
            interrupted.rounds(tmp_path / "run")
    else:
        found = interrupted.rounds(tmp_path / "run")
        assert found.history[-1].interrupted and len(found.history) == 1
    assert not (tmp_path / "run" / "posterior").exists()
    monkeypatch.setattr(training, "report", report)
    assert_same(interrupted.rounds(tmp_path / "run"), undisturbed)


def test_a_stream_that_is_interrupted_within_an_epoch_goes_on_to_the_same_bits(
    tmp_path, store, streamed, monkeypatch
):
    calls, report = [], streaming._report_window

    def press(*arguments):
        calls.append(None)
        if len(calls) == 9:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(streaming, "_report_window", press)
    assert interrupted.streamed(store, tmp_path / "run").history[-1].interrupted
    monkeypatch.setattr(streaming, "_report_window", report)
    assert_same(interrupted.streamed(store, tmp_path / "run"), streamed)


def test_a_stream_learns_what_memory_does(store, streamed):
    """θ | x of a linear Gaussian: both losses within the noise of one validation set."""
    in_memory = jaxsbi.fit(interrupted.KEY, store=store, **interrupted.SETTINGS)
    found, expected = streamed.history[-1], in_memory.history[-1]
    assert found.drawn == expected.drawn == 3000 and found.used == expected.used
    assert abs(found.best_loss - expected.best_loss) < 0.1
    np.testing.assert_array_equal(streamed.masks, in_memory.masks)


def test_every_training_row_of_a_stream_is_seen_once_an_epoch(store, monkeypatch):
    """Each window's rows, by θ: together the training rows of the store."""
    monkeypatch.setattr(streaming, "WINDOW", 512)
    source = streaming.survey(
        jaxsbi.open_store(store), interrupted.PRIOR, 0.1, lambda rows: None, _Silent()
    )
    for seed in (0, 1):
        seen = []
        for chunks in streaming._windows(jax.random.key(seed), source):
            window = streaming._read(source, chunks)
            assert window.capacity == 512
            seen.append(np.asarray(window.rows.z)[np.asarray(window.filled & ~window.validation)])
        held_out = np.asarray(source.sample.rows.z)[np.asarray(source.sample.validation)]
        rows = np.concatenate([*seen, held_out])
        assert len(rows) == 3000 == len(np.unique(rows, axis=0))
        assert abs(len(held_out) - 300) < 5


class _Silent:
    def update(self, *_):
        pass


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rounds": 3}, "rounds 2, not 3"),
        ({"simulations": 300}, r"simulations\[0\] 400, not 300"),
        ({"key": jax.random.key(4)}, r"key\[1\] 3, not 4"),
        ({"x_o": jnp.array([0.2, 1.1])}, "x_o"),
        ({"simulate": lambda key, theta: 2 * theta}, "simulator.program"),
        ({"training": jaxsbi.Training(max_epochs=31, anneal=2)}, "training.max_epochs 30, not 31"),
        ({"estimator": jaxsbi.mdn(components=2, hidden=(8,))}, "estimator.components 1, not 2"),
        ({"algorithm": jaxsbi.tsnpe(epsilon=0.01)}, "algorithm.epsilon"),
        ({"avoid_failures": False}, "avoid_failures True, not False"),
    ],
)
def test_another_run_is_refused_with_what_differs(done, change, named):
    given = {
        "key": interrupted.KEY, "simulate": interrupted.simulate, "prior": interrupted.PRIOR,
        "x_o": interrupted.X_O, "algorithm": jaxsbi.tsnpe(), "rounds": 2, "simulations": 400,
        "avoid_failures": True, **interrupted.SETTINGS, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"holds another run.*{named}") as error:
        jaxsbi.infer(**given, out=done)
    assert "\n" not in str(error.value)


def killed_and_taken_up(folder, expected, moments, finish, *arguments):
    """Kill it each time it has saved so many checkpoints in all; then it ends as `expected`."""
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    for moment in moments:
        command = [sys.executable, interrupted.__file__, *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        while process.poll() is None and saved(folder) < moment:
            time.sleep(0.005)
        time.sleep(random.random() * 0.5)
        process.kill()
        process.communicate()
    assert_same(finish(), expected)


def saved(folder):
    """The newest checkpoint's number, of all trainings together."""
    newest: dict[str, int] = {}
    for path in (folder / "trainings").glob("*/*/commit_success.txt"):
        if path.parent.name.isdigit():
            training_ = path.parents[1].name
            newest[training_] = max(newest.get(training_, 0), int(path.parent.name) + 1)
    return sum(newest.values())


def test_a_killed_inference_ends_in_the_same_bits(tmp_path, undisturbed):
    folder = tmp_path / "run"
    killed_and_taken_up(
        folder, undisturbed, [3], lambda: interrupted.rounds(folder), "rounds", folder
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rounds", "streamed"])
def test_an_inference_killed_at_twenty_moments_ends_in_the_same_bits(
    tmp_path, undisturbed, store, streamed, kind
):
    random.seed(2)
    folder, moments = tmp_path / "run", sorted(random.sample(range(1, 60), 20))
    expected = undisturbed if kind == "rounds" else streamed

    def finish():
        if kind == "rounds":
            return interrupted.rounds(folder)
        return interrupted.streamed(store, folder)

    killed_and_taken_up(folder, expected, moments, finish, kind, folder, store)


def test_a_checkpoint_that_was_altered_gives_way_to_the_one_before(tmp_path):
    state = {"a": jnp.arange(5.0), "b": jnp.asarray(2, jnp.int32)}
    checkpoint = Checkpoint(tmp_path / "c", {"drawn": 1})
    assert checkpoint.restore(state) is None
    for number in range(3):
        checkpoint.save(jax.tree.map(lambda a, k=number: a + k, state), epoch=number)
    checkpoint.close()
    again = Checkpoint(tmp_path / "c")
    found = again.restore(state)
    assert found.facts == {"drawn": 1, "epoch": 2}
    np.testing.assert_array_equal(found.state["a"], jnp.arange(5.0) + 2)
    again.close()
    for path in (tmp_path / "c" / "2").rglob("*"):
        if path.is_file() and path.stat().st_size > 40:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    third = Checkpoint(tmp_path / "c")
    assert third.restore(state).facts["epoch"] == 1
    assert third.restore({"a": jnp.zeros(6), "b": state["b"]}) is None  # of another training
    third.close()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_altered_checkpoint_is_taken_for_a_whole_one(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "c"
    state = {"a": jnp.arange(40.0)}
    first = Checkpoint(folder)
    first.save(state)
    first.close()
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    # names and sizes differ from run to run: what is drawn must not depend on them
    path = paths[data.draw(st.integers(0, 10**6)) % len(paths)]
    place, flip = data.draw(st.integers(0, 10**6)), data.draw(st.integers(1, 255))
    noise, flips = data.draw(st.binary(max_size=40)), data.draw(st.booleans())
    content = bytearray(path.read_bytes())
    if content and flips:
        content[place % len(content)] ^= flip
    path.write_bytes(content if flips else noise)
    again = Checkpoint(folder)
    found = again.restore(state)
    if found is not None:
        np.testing.assert_array_equal(found.state["a"], state["a"])
    again.close()


def test_the_ledger_tells_how_far_a_run_is(copy):
    from jaxsbi.keeping import read_ledger

    told = {entry["training"]: entry for entry in read_ledger(copy)}
    assert set(told) == {f"round-0{r}-{what}" for r in (1, 2) for what in ("density", "validity")}
    second = told["round-02-density"]
    assert len(second["rounds"]) == 1 and second["drawn"]["rows"] == 400
    assert second["seconds"] > 0 and json.dumps(told)


def test_checkpoints_are_made_on_a_schedule(tmp_path, monkeypatch):
    saves = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, state, **facts: saves.append(facts))
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(training, "MAX_SLICE_EPOCHS", 5)
    theta = interrupted.PRIOR.sample(jax.random.key(0), 200)
    jaxsbi.fit(
        interrupted.KEY, theta, theta, interrupted.PRIOR, out=tmp_path / "a", **interrupted.SETTINGS
    )
    assert len(saves) >= 3 and saves == sorted(saves, key=lambda facts: facts["seconds"])


FULL = """
import sys, jax, jaxsbi, interrupted
from jaxsbi import checkpoints, training
checkpoints.SECONDS_BETWEEN = training.SLICE_SECONDS = 0.0
theta = interrupted.PRIOR.sample(jax.random.key(0), 200)
for checkpoints.ROOM in (checkpoints.ROOM, -1 << 30):  # seen before Orbax, and by Orbax
    try:
        jaxsbi.fit(
            interrupted.KEY, theta, theta, interrupted.PRIOR, out=sys.argv[1],
            **interrupted.SETTINGS,
        )
    except ValueError as error:
        print(error)
    print("told", file=sys.stderr)
"""


def test_a_disk_that_is_full_when_a_training_is_saved_is_told_in_one_line(mounted):
    folder = mounted("-t", "tmpfs", "-o", "size=100k", "tmpfs") / "run"
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", FULL, folder], capture_output=True, text=True, env=environment
    )
    line = (
        f"out {folder}/trainings/round-01-density cannot be written: No space left on device; "
        "what is there is kept: mend that, and the same call goes on"
    )
    assert done.stdout.splitlines() == [line, line]
    # the first time nothing but the error is said; threads of Orbax may say more the second time
    assert "Traceback" not in done.stderr.split("told")[0]


def test_a_training_on_a_disk_that_is_read_only_is_refused(mounted, done):
    disk = mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    shutil.copytree(done, disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for name in ("run", "new"):
        with pytest.raises(ValueError, match="cannot be written: Read-only file system; what"):
            interrupted.rounds(disk / name)
