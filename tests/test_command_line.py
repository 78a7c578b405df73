"""The command line: what it cannot do it refuses in one line, with status 2, and why."""

import errno
import re
import shlex
from pathlib import Path

import jax
import pytest

from experiments import hodgkin_huxley as study
from experiments import runs
from experiments.__main__ import SEEDS, main

ROOT = Path(__file__).resolve().parents[1]
STUDY = ("hodgkin_huxley", "--preset", "smoke")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such_study",), "STUDY: expected one of .*, all, came 'no_such_study'"),
        (("--seed", "1"), "STUDY"),
        (("hodgkin_huxley", "--preset", "huge"), "--preset: expected one of smoke, .*came 'huge'"),
        (("hodgkin_huxley", "--size", "huge"), "'--size': expected options among .*--preset, "),
        ((*STUDY, "more"), "'more': expected options among "),
        ((*STUDY, "--seed"), "--seed: expected a value after it, came none; .*--help"),
        ((*STUDY, "--seed", "-1"), "--seed: .* whole number from 0 to 4294967295, came '-1'"),
        ((*STUDY, "--seed", "4294967296"), "--seed: .* came '4294967296'"),
        ((*STUDY, "--seed", "9" * 5000), "--seed: .* and so on"),
        ((*STUDY, "--seed", "1.5"), "--seed: .* came '1.5'"),
        ((*STUDY, "--download", "-3"), "--download: .* at least 1, came '-3'"),
        ((*STUDY, "--soma-area", "-1e-4"), "--soma-area: .* above 0, came '-1e-4'"),
        ((*STUDY, "--soma-area", "nan"), "--soma-area: .* above 0, came 'nan'"),
        ((*STUDY, "--cell", "nowhere.npz"), "nowhere.npz"),
        ((*STUDY, "--cell", "README.md"), "README.md"),
        ((*STUDY, "--data", "nowhere"), "--data: .* came 'nowhere'"),
        ((*STUDY, "--data", ""), "--data: .* came ''"),
        ((*STUDY, "--cell", "a.npz", "--download", "5"), "--cell, --download"),
        ((*STUDY, "--sweep", "3"), "--sweep belongs to a recording"),
        ((*STUDY, "--soma-area", "1e-4"), "--soma-area belongs to a recording"),
        ((*STUDY, "--out", "README.md"), "--out README.md"),
        ((*STUDY, "--out", "experiments"), "--out experiments"),
        ((*STUDY, "--out", "/proc/nowhere"), "--out /proc/nowhere"),
    ],
)
def test_bad_input_gives_one_clear_line_and_status_2(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("JAXSBI_DATA", raising=False)
    cached = arguments if arguments[-1] == "--seed" else (*arguments, "--no-cache")
    assert main(cached) == 2
    one_line(capsys, message)


def one_line(capsys, message):
    out, line = capsys.readouterr()
    assert out == "" and line.count("\n") == 1 and len(line) < 400
    assert re.match(f"error: .*{message}", line), line


LONG = "n" * 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", LONG), "--out n+…n+ cannot be read and written .File name too long"),
        (("--out", f"{LONG}/in"), "--out n+…n+/in cannot be read and written .File name too long"),
        (("--cell", f"{LONG}.npz"), "n+…n+.npz: expected a recording.*File name too long"),
        (("--data", LONG), "--data: expected a folder .*File name too long"),
    ],
)
def test_a_name_that_the_system_refuses_gives_one_short_line(
    arguments, message, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    if "--out" in arguments:
        monkeypatch.setattr(study, "observe", lambda key, options: [])
    assert main([*STUDY, "--no-cache", *arguments]) == 2
    one_line(capsys, message)


@pytest.mark.parametrize("refused", ["exists", "iterdir", "mkdir"])
def test_an_output_folder_that_is_locked_gives_one_line(refused, monkeypatch, capsys, tmp_path):
    """As for a user who may not read it; the one who runs the tests may be allowed everything."""
    out = tmp_path / "locked"
    out.mkdir()

    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(study, "observe", lambda key, options: [])
    monkeypatch.setattr(Path, refused, refuse)
    assert main([*STUDY, "--no-cache", "--out", str(out)]) == 2
    one_line(capsys, r"--out .*locked cannot be read and written \(Permission denied: ")


def test_a_folder_of_recordings_that_is_locked_gives_one_line(monkeypatch, capsys):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.delenv("JAXSBI_DATA", raising=False)
    for kind, option, message in (
        ("is_dir", "--data", "--data: expected a folder .*Permission denied"),
        ("is_file", "--cell", "shut/a.npz: expected a recording .*Permission denied"),
    ):
        monkeypatch.setattr(Path, kind, refuse)
        assert main([*STUDY, "--no-cache", option, "shut/a.npz"]) == 2
        one_line(capsys, message)


def test_a_disk_that_is_full_in_a_later_stage_gives_one_line(monkeypatch, capsys, tmp_path):
    def full(preset, seed, out, options):
        run = runs.Run(tmp_path / "out", {"seed": seed})
        monkeypatch.setattr(runs.os, "replace", refuse)
        with run.stage("simulate"):
            pass

    def refuse(part, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(study, "run", full)
    monkeypatch.delenv("JAXSBI_TRACEBACK", raising=False)
    assert main([*STUDY, "--no-cache"]) == 2
    one_line(capsys, "No space left on device: .*stages.json; .* the same command goes on$")


def test_a_bad_folder_from_the_environment_is_named_as_such(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("JAXSBI_DATA", str(tmp_path / "nowhere"))
    assert main([*STUDY, "--no-cache"]) == 2
    one_line(capsys, "JAXSBI_DATA: expected a folder of recordings, came ")
    seen = []
    monkeypatch.setattr(study, "run", lambda *arguments: seen.append(arguments[-1].data))
    for value, taken in (("", None), (str(tmp_path), tmp_path)):
        monkeypatch.setenv("JAXSBI_DATA", value)
        assert main([*STUDY, "--no-cache"]) == 0
        assert seen.pop() == taken


def test_every_seed_that_is_taken_gives_numbers_of_its_own():
    keys = {
        tuple(jax.random.key_data(jax.random.key(s)).tolist()) for s in (0, 1, 2**31, SEEDS - 1)
    }
    assert len(keys) == 4
    assert (jax.random.key(SEEDS) == jax.random.key(0)).all()  # why they end there


def test_an_error_of_many_lines_is_told_in_one_and_whole_on_demand(monkeypatch, capsys):
    def refuse(*_):
        raise ValueError("shapes\n  (2,)\n\nand (3,)")

    monkeypatch.setattr(study, "run", refuse)
    monkeypatch.delenv("JAXSBI_TRACEBACK", raising=False)
    assert main([*STUDY, "--no-cache"]) == 2
    one_line(capsys, r"shapes \(2,\) and \(3,\)$")
    monkeypatch.setenv("JAXSBI_TRACEBACK", "1")
    with pytest.raises(ValueError, match="shapes\n"):
        main([*STUDY, "--no-cache"])


@pytest.mark.parametrize(
    ("signal", "status"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)], ids=["INT", "TERM"]
)
def test_a_signal_ends_the_command_with_one_line(monkeypatch, capsys, signal, status):
    def interrupted(*_):
        raise signal

    monkeypatch.setattr(study, "run", interrupted)
    assert main([*STUDY, "--no-cache"]) == status
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "the same command goes on" in error


def test_the_command_of_a_run_gives_that_run(monkeypatch):
    seen = []
    monkeypatch.setattr(study, "run", lambda *arguments: seen.append(arguments))
    monkeypatch.delenv("JAXSBI_DATA", raising=False)
    for options in (
        study.Options(),
        study.Options(Path("my cell.npz"), 3, 1e-4, None, ROOT),
        study.Options(download=5),
        study.Options(all_cells=True),
    ):
        wanted = ("smoke", 7, Path("a b"), options)
        assert main([*shlex.split(study.command(*wanted))[3:], "--no-cache"]) == 0
        assert seen.pop() == wanted
