"""The command `jaxsbi`: from a problem to draws; every mistake is one line and exit 2."""

import json
import os
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
import shifted

import jaxsbi
from jaxsbi import commands, training
from jaxsbi.__main__ import main

QUICK = ["--estimator", "mdn", "--max-epochs", "150"]


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    """Compiled programs of tests are not the user's."""
    monkeypatch.setattr(commands, "keep_compilations", lambda: None)


def told(capsys, *arguments):
    """What a command prints as JSON."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a store, a run trained on it, and files good and bad."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "keep_compilations", lambda: None)
        store, run = str(folder / "sims"), str(folder / "run")
        assert main(["simulate", "shifted", "--n", "3e3", "--store", store, "--chunk", "500"]) == 0
        assert main(["train", "--store", store, "--out", run, *QUICK]) == 0
    np.save(folder / "x.npy", np.array([0.3, -0.2], np.float32))
    (folder / "x.json").write_text("[0.3, -0.2]")
    (folder / "x.csv").write_text("0.3,-0.2\n")
    (folder / "three.csv").write_text("0.3,-0.2,1")
    (folder / "nan.json").write_text("[null, null]")
    (folder / "half.json").write_text("[null, 0.1]")
    (folder / "words.json").write_text('{"x": "seven"}')
    (folder / "cut.json").write_text("[0.3, -0")
    (folder / "empty.csv").write_text("")
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:-3])
    (folder / "pickled.npy").write_bytes(b"")
    np.save(folder / "pickled.npy", np.array([{}], object))
    (folder / "pairs.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "batch.npy", np.zeros((3, 2), np.float32))
    (folder / "empty").mkdir()
    (folder / "note.txt").write_text("0.3 -0.2")
    return folder


def test_from_a_problem_to_draws(place, capsys):
    """The posterior's mean is x where the prior is flat, its sd that of the noise."""
    out = place / "theta.csv"
    found = told(capsys, "sample", place / "run", "--x", place / "x.npy", "--n", 2000, "--out", out)
    draws = np.genfromtxt(out, delimiter=",", names=True)
    assert draws.dtype.names == ("a", "b", "log_prob") and len(draws) == 2000
    for name, x in (("a", 0.3), ("b", -0.2)):
        assert abs(draws[name].mean() - x) < 0.05
        assert found["parameters"][name]["mean"] == pytest.approx(draws[name].mean(), abs=1e-4)
        assert found["parameters"][name]["sd"] == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("x", ["x.json", "x.csv", "note.txt"])
def test_observations_and_draws_have_the_form_that_suits(place, x, suffix, tmp_path):
    out = tmp_path / f"draws.{suffix}"
    arguments = ["--x", str(place / x), "--n", "50", "--out", str(out)]
    assert main(["sample", str(place / "run"), *arguments]) == 0
    found = np.load(out)
    theta = found["theta"] if suffix == "npz" else found
    posterior = jaxsbi.load(place / "run" / "posterior")
    expected = posterior.sample(jax.random.key(0), 50, jnp.array([0.3, -0.2]))
    np.testing.assert_allclose(theta, expected, rtol=1e-5)


def test_the_commands_do_what_the_library_does(place):
    store = jaxsbi.open_store(place / "sims")
    theta, x = jaxsbi.simulate(jax.random.key(0), shifted.simulate, shifted.prior, 3000)
    jax.tree.map(np.testing.assert_array_equal, store.read(), (theta, x))


def test_a_posterior_is_diagnosed_on_fresh_rows_of_its_own_problem(place, capsys):
    found = told(capsys, "diagnose", place / "run", "--n", 200, "--samples", 100)
    assert found["rows"] == 200 and found["problem"] == "shifted"
    assert set(found["p_values"]) == {"a", "b"}
    assert set(found["coverage"]) == {"0.5", "0.8", "0.95"} and 0 < found["coverage_p_value"] <= 1
    assert found["calibrated"] == found["verdict"].startswith("calibrated")


def test_a_store_that_is_not_found_is_said_with_where_it_was_looked_for(
    place, tmp_path, monkeypatch, capsys
):
    settings = json.loads((place / "run" / "run.json").read_text()) | {"name": "sims"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(settings))
    monkeypatch.chdir(tmp_path)
    assert main(["diagnose", "run"]) == 2
    assert f"store sims was not found, looked for at {tmp_path}/sims" in capsys.readouterr().err


def test_stores_runs_and_posteriors_tell_what_they_hold(place, capsys):
    store = told(capsys, "inspect", place / "sims", "--check")
    assert (store["kind"], store["rows"], store["problem"]) == ("store", 3000, "shifted")
    assert store["parameters"] == ["a", "b"] and store["damaged"] == {}
    run = told(capsys, "inspect", place / "run")
    assert run["finished"] and run["rounds"][0]["used"] == 3000
    posterior = told(capsys, "inspect", place / "run" / "posterior")
    assert posterior["rounds"] == run["rounds"]
    assert main(["inspect", str(place / "sims")]) == 0
    assert "3,000" in capsys.readouterr().out


WATCHED = []


def _watch(event, arguments):
    """Connections, and files opened to be written, made or renamed, while somebody watches."""
    if not WATCHED:
        return
    if event in ("socket.connect", "socket.getaddrinfo"):
        WATCHED.append(("network", arguments))
    elif event == "open" and isinstance(arguments[0], str) and arguments[2] & os.O_ACCMODE:
        WATCHED.append(("file", arguments[0]))
    elif event in ("os.mkdir", "os.rename"):
        WATCHED.append(("file", str(arguments[0])))


def test_nothing_is_fetched_nor_written_but_where_it_was_asked_for(place, capsys, tmp_path):
    sys.addaudithook(_watch)
    WATCHED.append(("file", str(tmp_path)))
    try:
        told(capsys, "simulate", "shifted", "--n", 100, "--store", tmp_path / "sims")
        quick = ["--estimator", "mdn", "--max-epochs", "2"]
        told(capsys, "train", "--store", tmp_path / "sims", "--out", tmp_path / "run", *quick)
        told(capsys, "diagnose", tmp_path / "run", "--n", 50, "--samples", 9)
        draws = tmp_path / "theta.csv"
        told(capsys, "sample", tmp_path / "run", "--x", place / "x.npy", "--n", 5, "--out", draws)
        told(capsys, "inspect", tmp_path / "run")
    finally:
        seen = set(WATCHED)
        WATCHED.clear()
    written = {path for kind, path in seen if kind == "file" and path != os.devnull}
    assert any(path.startswith(str(tmp_path / "run")) for path in written)  # it does watch
    assert not [what for what in seen if what[0] == "network"]
    assert all(path.startswith(str(tmp_path)) for path in written), sorted(written)


def test_the_same_command_adds_rows_and_reads_back_what_is_done(place, capsys, tmp_path):
    store = tmp_path / "sims"
    assert told(capsys, "simulate", "shifted", "--n", 100, "--store", store)["rows"] == 100
    assert told(capsys, "simulate", "shifted", "--n", 150, "--store", store)["rows"] == 150
    again = told(capsys, "train", "--store", place / "sims", "--out", place / "run", *QUICK)
    assert again["rounds"] == told(capsys, "inspect", place / "run")["rounds"]


def test_json_is_asked_for_in_any_spelling_and_by_its_flag_alone(place, capsys):
    for flag in ("--json=true", "--json"):
        assert main(["inspect", str(place / "sims"), flag]) == 0
        assert json.loads(capsys.readouterr().out)["rows"] == 3000
    assert main(["inspect", str(place / "sims"), "--json=false"]) == 0
    assert "3,000" in capsys.readouterr().out


def test_ctrl_c_says_what_begins_again(place, capsys, monkeypatch):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "contents", pressed)
    assert main(["inspect", str(place / "sims")]) == 130
    said = capsys.readouterr().err.strip()
    assert said == f"interrupted: this begins again: jaxsbi inspect {place / 'sims'}"


def test_ctrl_c_prints_the_command_that_goes_on(place, capsys, monkeypatch, tmp_path):
    arguments = ["train", "--store", str(place / "sims"), "--out", str(tmp_path / "run"), *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(training, "MAX_SLICE_EPOCHS", 2)
        patch.setattr(training, "report", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert main(arguments) == 130
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("interrupted: what is done is kept")
    assert said.endswith("jaxsbi " + " ".join(arguments))
    told_so_far = told(capsys, "inspect", tmp_path / "run")
    assert not told_so_far["finished"] and told_so_far["trainings"]
    assert main(arguments) == 0
    ours, theirs = (jaxsbi.load(p / "run" / "posterior") for p in (tmp_path, place))
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_a_campaign_keeps_its_rows(tmp_path, number, code):
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    command = [sys.executable, "-m", "jaxsbi", "simulate", "shifted", "--n", "1e8"]
    listening = ["env", "--default-signal=INT"]  # a job in the background would not hear Ctrl-C
    process = subprocess.Popen(
        [*listening, *command, "--store", str(tmp_path / "s")], env=environment,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    while not (tmp_path / "s" / "row" / "c" / "2").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate()[1].decode()
    assert process.returncode == code and "this goes on: jaxsbi simulate shifted" in said
    store = jaxsbi.open_store(tmp_path / "s")
    assert len(store) >= 3 * store.chunk and not (tmp_path / "s" / ".writer").exists()
    assert len(store.read(0, len(store))[0]) == len(store)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["simulate", "--help"], ["train", "--help"]])
def test_help_teaches(capsys, arguments):
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "jaxsbi" in said and "│" in said
    if not arguments:
        assert all(name in said for name in ("simulate", "train", "sample", "diagnose", "inspect"))


def test_a_shell_learns_to_complete_the_commands():
    script = commands.app.generate_completion(shell="bash")
    assert "simulate" in script and "--store" in script


def test_without_the_extra_one_line_says_how_to_get_it(tmp_path):
    """The core works, and what needs a package names it."""
    program = f"""
import sys
for name in ("zarr", "orbax", "orbax.checkpoint", "cyclopts"):
    sys.modules[name] = None
import jax, jax.numpy as jnp, jaxsbi, shifted
from jaxsbi.__main__ import main
key, problem = jax.random.key(0), (shifted.simulate, shifted.prior)
theta, x = jaxsbi.simulate(key, *problem, 20)
assert theta.shape == (20, 2)
for call in (
    lambda: jaxsbi.simulate(key, *problem, 20, store="{tmp_path}/a"),
    lambda: jaxsbi.fit(key, theta, x, shifted.prior, out="{tmp_path}/b"),
):
    try:
        call()
    except ImportError as error:
        print(error)
print(main(["inspect", "x"]))
"""
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    remedy = "pip install 'jaxsbi[store]'"
    assert [line.count(remedy) for line in lines] == [1, 1, 0], done.stderr
    assert lines[-1] == "2" and remedy in done.stderr


SIM = ["simulate", "shifted", "--n", "10", "--store"]
BAD_COMMANDS = [
    ["simulate"],
    ["simulate", "shifted"],
    ["simulate", "shifted", "--n", "10"],
    ["simulate", "shifted", "--store", "{place}/new"],
    ["simulate", "nowhere.at_all", "--n", "10", "--store", "{place}/new"],
    ["simulate", "shifted:nothing", "--n", "10", "--store", "{place}/new"],
    ["simulate", "shifted:no_prior", "--n", "10", "--store", "{place}/new"],
    ["simulate", "shifted:no_simulator", "--n", "10", "--store", "{place}/new"],
    ["simulate", "shifted:breaks", "--n", "10", "--store", "{place}/new"],
    ["simulate", "../shifted.py", "--n", "10", "--store", "{place}/new"],
    ["simulate", ":prior", "--n", "10", "--store", "{place}/new"],
    ["simulate", "", "--n", "10", "--store", "{place}/new"],
    ["simulate", "shifted", "--n", "ten", "--store", "{place}/new"],
    ["simulate", "shifted", "--n", "1.5", "--store", "{place}/new"],
    ["simulate", "shifted", "--n", "-3", "--store", "{place}/new"],
    ["simulate", "shifted", "--n", "0", "--store", "{place}/new"],
    ["simulate", "shifted", "--n", "inf", "--store", "{place}/new"],
    ["simulate", "shifted", "--n", "nan", "--store", "{place}/new"],
    ["simulate", "shifted", "--n", "1e15", "--store", "{place}/new"],
    [*SIM, "{place}/new", "--chunk", "0"],
    [*SIM, "{place}/new", "--batch", "0"],
    [*SIM, "{place}/new", "--seed", "-1"],
    [*SIM, "{place}/new", "--colour", "red"],
    [*SIM, "{place}/new", "further"],
    [*SIM, ""],
    [*SIM, "{place}/note.txt"],
    [*SIM, "{place}"],
    [*SIM, "{place}/run"],
    [*SIM, "/proc/nothing/here"],
    [*SIM, "nosuchprotocol://bucket/name"],
    [*SIM, "{place}/sims", "--seed", "1"],
    [*SIM, "{place}/sims", "--chunk", "7"],
    ["simulate", "shifted:other_shape", "--n", "10", "--store", "{place}/sims"],
    ["train", "--store", "{place}/sims"],
    ["train", "--out", "{place}/new"],
    ["train", "--store", "{place}/nowhere", "--out", "{place}/new"],
    ["train", "--store", "{place}/empty", "--out", "{place}/new"],
    ["train", "--store", "{place}/sims", "--out", "{place}"],
    ["train", "--store", "{place}/sims", "--out", "{place}/note.txt"],
    ["train", "--store", "{place}/sims", "--out", "{place}/run", *QUICK, "--seed", "3"],
    ["train", "--store", "{place}/sims", "--out", "{place}/new", "--estimator", "oracle"],
    ["train", "--store", "{place}/sims", "--out", "{place}/new", "--algorithm", "magic"],
    ["train", "--store", "{place}/sims", "--out", "{place}/new", "--max-epochs", "0"],
    ["train", "--store", "{place}/sims", "--out", "{place}/new", "--batch-size", "0"],
    ["train", "--store", "{place}/sims", "--out", "s3://bucket/name"],
    ["sample", "{place}/run", "--x", "{place}/x.npy", "--n", "5"],
    ["sample", "{place}/nowhere", "--x", "{place}/x.npy", "--n", "5", "--out", "{place}/t.csv"],
    ["sample", "{place}/sims", "--x", "{place}/x.npy", "--n", "5", "--out", "{place}/t.csv"],
    ["sample", "{place}/run", "--x", "{place}/x.npy", "--n", "0", "--out", "{place}/t.csv"],
    ["sample", "{place}/run", "--x", "{place}/x.npy", "--n", "5", "--out", "{place}/t.xlsx"],
    ["sample", "{place}/run", "--x", "{place}/x.npy", "--n", "5", "--out", "{place}/no/t.csv"],
    ["sample", "{place}/run", "--x", "{place}/x.npy", "--n", "5", "--out", "{place}/x.csv"],
    *(
        ["sample", "{place}/run", "--x", f"{{place}}/{name}", "--n", "5", "--out", "{place}/t.csv"]
        for name in (
            "nothing.npy", "x.doc", "three.csv", "nan.json", "half.json", "words.json", "cut.json",
            "empty.csv", "cut.npy", "pickled.npy", "pairs.npy", "batch.npy", "empty",
        )
    ),
    ["diagnose", "{place}/nowhere"],
    ["diagnose", "{place}/run/posterior"],
    ["diagnose", "{place}/run", "--n", "0"],
    ["diagnose", "{place}/run", "--problem", "nowhere"],
    ["inspect"],
    ["inspect", "{place}/nowhere"],
    ["inspect", "{place}/empty"],
    ["inspect", "{place}/note.txt"],
    ["inform", "{place}/sims"],
]  # fmt: skip


def test_there_are_enough_bad_inputs():
    assert len(BAD_COMMANDS) + len(BAD_CALLS) >= 60


@pytest.mark.parametrize("arguments", BAD_COMMANDS, ids=" ".join)
def test_a_mistake_is_told_in_one_line_with_exit_2(place, capsys, arguments):
    before = sorted(place.rglob("*"))
    assert main([word.format(place=place) for word in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ")
    assert said.err.count("\n") == 1 and "Traceback" not in said.err and len(said.err) < 900
    assert sorted(path for path in place.rglob("*") if path.name != "new") == [
        path for path in before if path.name != "new"
    ]  # nothing is written


def simulated(**changes):
    given = {
        "key": jax.random.key(0), "simulate": shifted.simulate, "prior": shifted.prior, "n": 10,
        **changes,
    }  # fmt: skip
    return jaxsbi.simulate(**given)


def fitted(*arguments, **named):
    settings = {name: interrupted.SETTINGS[name] for name in ("estimator", "training")}
    return jaxsbi.fit(jax.random.key(0), *arguments, **settings, **named)


ROWS = np.zeros((20, 2), np.float32)
BAD_CALLS = [
    (lambda p: simulated(chunk=10), "chunk must be left out"),
    (lambda p: simulated(store=3), "store must be the name of a folder"),
    (lambda p: simulated(store=""), "store must be the name of a folder"),
    (lambda p: simulated(store=p / "a", chunk=0), "chunk must be an integer"),
    (lambda p: simulated(store=p / "a", chunk=2.5), "chunk must be an integer"),
    (lambda p: simulated(store=p / "a", n=2**32), "n must be below"),
    (lambda p: simulated(store=p / "x.npy"), "must be a folder, but it is a file"),
    (lambda p: simulated(store=p), "is not empty and holds no store"),
    (lambda p: simulated(store=p / "sims", n=5, chunk=9), "chunk must be 500"),
    (lambda p: jaxsbi.open_store(p / "nowhere"), "does not exist"),
    (lambda p: jaxsbi.open_store(p / "run"), "store .*run"),
    (lambda p: jaxsbi.open_store("nosuchprotocol://a"), "nosuchprotocol"),
    (lambda p: jaxsbi.open_store(p / "sims").read(5, 2), "rows must lie between"),
    (lambda p: jaxsbi.open_store(p / "sims").read(0, 9000), "rows must lie between"),
    (lambda p: fitted(), "theta, x and prior must be given, or store"),
    (lambda p: fitted(ROWS, ROWS), "theta, x and prior must be given, or store"),
    (lambda p: fitted(ROWS, ROWS, store=p / "sims"), "theta and x must be left out"),
    (lambda p: fitted(store=3), "store must be a folder"),
    (lambda p: fitted(store=p / "nowhere"), "does not exist"),
    (lambda p: fitted(store=p / "sims", memory=-1), "memory must be an integer"),
    (lambda p: fitted(store=p / "sims", prior=3), "prior must be a jaxsbi.Prior"),
    (
        lambda p: fitted(store=p / "sims", prior=jaxsbi.box([-1.0, -1.0], [1.0, 2.0])),
        "prior must be the one that store",
    ),
    (lambda p: fitted(ROWS, ROWS, shifted.prior, out=3), "out must be the name of a folder"),
    (lambda p: fitted(ROWS, ROWS, shifted.prior, out=""), "out must be the name of a folder"),
    (lambda p: fitted(ROWS, ROWS, shifted.prior, out="s3://a/b"), "out must be the name"),
    (lambda p: fitted(ROWS, ROWS, shifted.prior, out=p), "is not empty and holds no run"),
    (lambda p: fitted(ROWS, ROWS, shifted.prior, out=p / "run"), "holds another run"),
    (lambda p: fitted(ROWS, ROWS, shifted.prior, out=p / "x.npy"), "must be a folder, but it is"),
]


@pytest.mark.parametrize(
    ("call", "message"), BAD_CALLS, ids=[f"call{i}" for i in range(len(BAD_CALLS))]
)
def test_a_wrong_argument_is_named_in_one_line(place, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(place)
    assert "\n" not in str(error.value)
