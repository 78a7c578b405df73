"""Simulation stores: what is in one depends on the key alone; damage is seen and mended."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import campaign
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxsbi
from jaxsbi import campaigns, filling, writers

PRIOR, KEY = campaign.PRIOR, jax.random.key(5)
ROWS = 1300


def noisy(key, theta):
    """Two arrays; an undefined feature here and there, and failures of the whole row."""
    x = theta + jax.random.normal(key, (2,))
    fails = x[0] > 1.5
    return {
        "x": jnp.where(fails, jnp.nan, jnp.where(x > 1, jnp.nan, x)),
        "s": jnp.where(fails, jnp.nan, jnp.sum(theta)),
    }


def files(folder):
    """Content of all files below a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def assert_same(rows, others):
    jax.tree.map(np.testing.assert_array_equal, rows, others)


@pytest.fixture(scope="module")
def in_memory():
    return jaxsbi.simulate(KEY, noisy, PRIOR, ROWS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished store, to be copied."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    jaxsbi.simulate(KEY, noisy, PRIOR, ROWS, store=folder, chunk=200)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "store"))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk", [100, 1000])
def test_content_depends_on_the_key_alone(chunk, threads, in_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    store = jaxsbi.simulate(KEY, noisy, PRIOR, ROWS, store=tmp_path / "a", chunk=chunk)
    assert len(store) == ROWS and store.chunk == chunk
    assert_same(store.read(), in_memory)
    assert_same(store.read(90, 330), jax.tree.map(lambda a: a[90:330], in_memory))


def test_large_chunks_that_are_filled_have_the_same_content(tmp_path):
    """Two whole chunks and a part, of which each takes several batches."""
    expected = jaxsbi.simulate(KEY, noisy, PRIOR, 9000)
    store = jaxsbi.simulate(KEY, noisy, PRIOR, 9000, store=tmp_path / "a", chunk=4096, batch=1500)
    assert len(store) == 9000 and store.chunk == 4096
    assert_same(store.read(), expected)
    assert_same(store.read(4090, 8200), jax.tree.map(lambda a: a[4090:8200], expected))


def test_a_store_at_an_address_of_fsspec_has_the_same_content(in_memory):
    store = jaxsbi.simulate(KEY, noisy, PRIOR, ROWS, store="memory://campaign/rows", chunk=500)
    assert_same(jaxsbi.open_store("memory://campaign/rows").read(), in_memory)
    with pytest.raises(ValueError, match="holds another run .*key.data"):
        jaxsbi.simulate(jax.random.key(6), noisy, PRIOR, 9, store=store.address)


def test_what_is_there_is_not_simulated_again(copy, monkeypatch):
    def nothing(*_):
        raise AssertionError("a row was simulated")

    before = files(copy)
    monkeypatch.setattr(filling, "stream", nothing)
    assert len(jaxsbi.simulate(KEY, noisy, PRIOR, ROWS, store=copy)) == ROWS
    assert len(jaxsbi.simulate(KEY, noisy, PRIOR, 700, store=copy)) == ROWS
    assert files(copy) == before


def test_a_store_grown_in_steps_is_the_store_made_at_once(whole, tmp_path):
    for n in (1, 130, 450, ROWS):
        store = jaxsbi.simulate(KEY, noisy, PRIOR, n, store=tmp_path / "a", chunk=200)
        assert len(store) == n
    assert files(tmp_path / "a") == files(whole)


def test_patterns_of_defined_features_are_those_of_the_rows(whole):
    store = jaxsbi.open_store(whole)
    _, x = store.read()
    rows = ~np.isnan(np.column_stack([x["s"], x["x"]]))
    expected = {tuple(row) for row in rows if row.any()}
    found = store.patterns()
    assert {tuple(row) for row in found} == expected and len(found) == len(expected) > 2


def test_the_prior_comes_back(whole):
    prior = jaxsbi.open_store(whole).prior
    theta, _ = jaxsbi.open_store(whole).read(0, 50)
    np.testing.assert_array_equal(prior.log_prob(theta), PRIOR.log_prob(theta))


@pytest.mark.parametrize("name", ["theta", "x0", "x1", "defined", "row"])
@pytest.mark.parametrize("damage", ["flipped", "missing", "cut", "empty"])
def test_a_damaged_chunk_is_named_and_simulated_anew(copy, whole, name, damage):
    path = copy / name / "c" / "3" / "0" if name != "row" else copy / name / "c" / "3"
    path = path if path.exists() else copy / name / "c" / "3"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 16
    path.unlink()
    if damage != "missing":
        path.write_bytes({"cut": content[:-9], "empty": b""}.get(damage, content))
    store = jaxsbi.open_store(copy)
    assert_same(store.read(0, 600), jaxsbi.open_store(whole).read(0, 600))
    if not (name == "row" and damage == "missing"):  # then the store merely ends there
        with pytest.raises(ValueError, match="chunk 3 .rows 600 to 799. cannot be used") as error:
            store.read(0, 1200)
        assert "\n" not in str(error.value)
    warnings.simplefilter("ignore")
    jaxsbi.simulate(KEY, noisy, PRIOR, ROWS, store=copy)
    assert files(copy) == files(whole)


def test_the_chunk_of_a_row_file_that_is_missing_is_read_by_nobody(copy):
    (copy / "row" / "c" / "3").unlink()
    store = jaxsbi.open_store(copy)
    assert len(store) == 600
    with pytest.raises(ValueError, match="chunk 3 .* missing"):
        store.read(0, 1200)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda c: (jax.random.key(6), noisy, PRIOR), r"key.data\[1\] 5, not 6"),
        (lambda c: (KEY, noisy, jaxsbi.box([-1.0, 0.0], [1.0, 3.0])), r"high\[1\] 2, not 3"),
        (lambda c: (KEY, noisy, jaxsbi.box([-1.0, 0.0], [1.0, 2.0], names=["a", "b"])), "names"),
        (lambda c: (KEY, lambda k, t: noisy(k, 2 * t), PRIOR), "simulator.program"),
        (lambda c: (KEY, lambda k, t: {"x": t}, PRIOR), "simulator.x"),
        (lambda c: (KEY, jax.tree_util.Partial(noisy, KEY), PRIOR), "must trace|simulator.bound"),
    ],
)
def test_another_campaign_is_refused_with_what_differs(whole, other, named):
    before = files(whole)
    with pytest.raises(ValueError, match=named) as error:
        jaxsbi.simulate(*other(None), ROWS, store=whole)
    assert "\n" not in str(error.value) and files(whole) == before


def test_rows_of_another_backend_are_added_with_a_warning(copy, monkeypatch):
    of = campaigns.versions
    monkeypatch.setattr(campaigns, "versions", lambda *names: of(*names) | {"backend": "gpu"})
    with pytest.warns(UserWarning, match="on another backend, backend cpu, not gpu: .* last bits"):
        jaxsbi.simulate(KEY, noisy, PRIOR, ROWS + 1, store=copy)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="simulator.program"):
        jaxsbi.simulate(KEY, lambda k, t: noisy(k, 2 * t), PRIOR, ROWS, store=copy)


def test_a_simulator_bound_to_other_numbers_is_another(tmp_path):
    def shifted(key, theta, shift):
        return theta + shift

    for shift in (1.0, 1.0, 2.0):
        simulate = jax.tree_util.Partial(shifted, shift=jnp.asarray(shift))
        try:
            jaxsbi.simulate(KEY, simulate, PRIOR, 32, store=tmp_path / "a")
        except ValueError as error:
            assert shift == 2.0 and "simulator.bound" in str(error)
        else:
            assert shift == 1.0


HOLD = """
import sys
from jaxsbi.writers import only_writer
with only_writer(sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.read()
"""


RUN = "import campaign, sys; campaign.main(*sys.argv[1:])"


def started(*arguments):
    """A Python process of its own."""
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    command = [sys.executable, *map(str, arguments)]
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    return subprocess.Popen(command, env=environment, **pipes)


@pytest.fixture
def holder(copy):
    """Another process that writes to the store until it is told to go."""
    process = started("-c", HOLD, copy)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.communicate()


def test_a_second_writer_is_refused_by_the_name_of_the_first_until_that_dies(copy, holder):
    with pytest.raises(ValueError, match=f"is being written by process {holder.pid} on .* since"):
        jaxsbi.simulate(KEY, noisy, PRIOR, ROWS + 1, store=copy)
    assert len(jaxsbi.open_store(copy).read()[0]) == ROWS  # to read is free
    holder.kill()
    holder.wait()
    assert (copy / writers.RECORD).exists()
    assert len(jaxsbi.simulate(KEY, noisy, PRIOR, ROWS + 1, store=copy)) == ROWS + 1
    assert not (copy / writers.RECORD).exists()


def test_a_writer_elsewhere_is_known_by_its_heartbeat(monkeypatch):
    import fsspec

    fs, address = fsspec.filesystem("memory"), "memory://beating/store"
    alive = {"host": "elsewhere", "pid": 7, "since": "noon", "beat": time.time(), "token": "t"}
    fs.makedirs("/beating/store")
    fs.pipe_file("/beating/store/.writer", json.dumps(alive).encode())
    with pytest.raises(ValueError, match="is being written by process 7 on elsewhere since noon"):
        jaxsbi.simulate(KEY, noisy, PRIOR, 20, store=address)
    old = {**alive, "beat": time.time() - 10 * writers.DEAD_SECONDS}
    fs.pipe_file("/beating/store/.writer", json.dumps(old).encode())
    assert len(jaxsbi.simulate(KEY, noisy, PRIOR, 20, store=address)) == 20
    assert not fs.exists("/beating/store/.writer")


def killed_and_taken_up(folder, expected, moments, kill_signal=signal.SIGKILL):
    """Kill a campaign each time it has a further so many rows; the finished store is `expected`."""
    for rows in moments:
        process = started("-c", RUN, folder, 600, 20, 0.002)
        while process.poll() is None and not (folder / "row" / "c" / str(rows // 20)).exists():
            time.sleep(0.001)
        time.sleep(random.random() * 0.05)
        process.send_signal(kill_signal)
        process.communicate()
    campaign.run(folder, 600, 20)
    assert files(folder) == expected


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    campaign.run(folder, 600, 20)
    return files(folder)


def test_a_killed_campaign_goes_on_as_if_nothing_had_happened(tmp_path, undisturbed):
    killed_and_taken_up(tmp_path / "store", undisturbed, [200])


@pytest.mark.slow
def test_a_campaign_killed_at_twenty_moments_ends_in_the_same_store(tmp_path, undisturbed):
    random.seed(1)
    killed_and_taken_up(tmp_path / "store", undisturbed, sorted(random.sample(range(580), 20)))


def test_the_fingerprint_of_a_neuron_is_the_same_in_another_process():
    program = (
        "from jaxsbi import fingerprints, simulation; from simulators import hodgkin_huxley as hh; "
        "x = simulation.outcome(hh.simulate, 8); "
        "print(fingerprints.of_simulator(hh.simulate, 8, x)['program'])"
    )

    def of(hash_seed):
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed}, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        return done.stdout

    assert of("1") == of("2")


def test_ctrl_c_keeps_the_rows_of_the_chunk_under_way(tmp_path, undisturbed, monkeypatch):
    folder, stream = tmp_path / "store", filling.stream

    def interrupted(*arguments):
        for i, part in enumerate(stream(*arguments)):
            if i == 3:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(filling, "stream", interrupted)
    with pytest.raises(KeyboardInterrupt):
        campaign.run(folder, 600, 20)
    assert len(jaxsbi.open_store(folder)) == 48  # three batches of 16
    monkeypatch.setattr(filling, "stream", stream)
    campaign.run(folder, 600, 20)
    assert files(folder) == undisturbed


def test_a_full_disk_is_told_in_one_line_and_the_same_call_goes_on(mounted, undisturbed):
    disk = mounted("-t", "tmpfs", "-o", "size=256k", "tmpfs")
    folder = disk / "store"
    (disk / "ballast").write_bytes(b"\0" * 100_000)
    with pytest.raises(ValueError, match="cannot be written: No space left .*goes on") as error:
        campaign.run(folder, 600, 20)
    assert "\n" not in str(error.value)
    assert 0 < len(jaxsbi.open_store(folder)) < 600
    (disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    campaign.run(folder, 600, 20)
    assert files(folder) == undisturbed


def test_a_folder_that_cannot_be_written_is_refused(mounted, tmp_path, whole):
    disk = mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    shutil.copytree(whole, disk / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert len(jaxsbi.open_store(disk / "store")) == ROWS
    for name in ("store", "new"):
        with pytest.raises(ValueError, match="cannot be written: Read-only file system"):
            jaxsbi.simulate(KEY, noisy, PRIOR, ROWS + 1, store=disk / name)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_altered_file_of_a_store_raises_anything_but_the_documented_error(
    data, copy, whole, in_memory
):
    """Any byte of any file set to anything, any file cut or filled with noise."""
    name = data.draw(st.sampled_from(sorted(files(whole))))
    content = bytearray((whole / name).read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        content = data.draw(st.binary(max_size=60)) + content[data.draw(st.integers(0, 400)) :]
    (copy / name).write_bytes(content)
    try:
        store = jaxsbi.open_store(copy)
        n = len(store)
        # what is read is right, or refused
        assert_same(store.read(0, n), jax.tree.map(lambda a: a[:n], in_memory))
        store.prior, store.patterns()
    except ValueError as error:
        assert "\n" not in str(error)
    finally:
        (copy / name).write_bytes((whole / name).read_bytes())
