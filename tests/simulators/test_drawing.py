"""`python -m simulators`: a picture of every model, and one line for every mistake."""

import builtins
import importlib
import re

import jax
import numpy as np
import pytest

from jaxsbi.compilation import keep_compilations
from simulators import MODELS, channels
from simulators.__main__ import SEEDS, main
from simulators._basis import Basis
from simulators._drawings import DRAWINGS
from simulators.voltage_clamp import Clamp

plt = pytest.importorskip("matplotlib.pyplot")
PNG = b"\x89PNG\r\n\x1a\n"


def test_every_model_has_a_drawing_and_the_contract():
    assert set(DRAWINGS) == set(MODELS)
    for name in MODELS:
        model = importlib.import_module(f"simulators.{name}")
        assert len(model.NOMINAL) == len(model.PARAMETERS)
        assert all(hasattr(model, part) for part in ("FEATURES", "simulate", "trace", "features"))


@pytest.mark.parametrize("name", ["glm", "hodgkin_huxley"])
def test_a_picture_depends_on_the_seed_and_theta(name, tmp_path, capsys):
    model = importlib.import_module(f"simulators.{name}")
    theta = ",".join(str(v) for v in 0.7 * model.NOMINAL)
    pictures = []
    nominal = ",".join(str(v) for v in model.NOMINAL)  # for some models it begins with a minus
    for more in ([], ["--theta", nominal], ["--seed", "3"], ["--theta=" + theta]):
        path = tmp_path / "run.png"
        assert main([name, "--no-cache", "--plot", str(path), *more]) == 0
        assert capsys.readouterr().out.strip() == str(path)
        pictures.append(path.read_bytes())
        assert pictures[-1].startswith(PNG)
    assert pictures[0] == pictures[1] and len(set(pictures)) == 3


def test_channels_and_gabor_are_drawn(monkeypatch):
    from simulators import gabor

    video = gabor.white_noise(frames=300)
    monkeypatch.setattr(gabor, "default_protocol", lambda: video)
    figure = DRAWINGS["gabor"](plt, jax.random.key(0), gabor.NOMINAL)
    trace = gabor.trace(jax.random.key(0), gabor.NOMINAL)
    assert (
        figure.axes[2].get_title(loc="left").startswith(f"{trace.counts.sum():.0f} spikes in 8 s")
    )

    clamps = (Clamp(np.linspace(-80, 60, 600).reshape(2, 300), 0.05, "steps"),)
    basis = Basis((np.zeros((300, 2, 10)),), ("steps",))
    protocol = channels.Protocol((clamps[0], clamps[0]), Basis(basis.functions * 2, ("steps",) * 2))
    monkeypatch.setattr(channels, "default_protocol", lambda: protocol)
    figure = DRAWINGS["channels"](plt, jax.random.key(0), channels.NOMINAL)
    trace = channels.trace(jax.random.key(0), channels.NOMINAL)
    drawn = figure.axes[2].lines[1].get_ydata()
    np.testing.assert_allclose(drawn, trace.currents[0][1], rtol=1e-6)
    assert figure.axes[2].get_title(loc="right") == f"mean {trace.currents[0].mean():.3f}"
    plt.close("all")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["glmm"], "MODEL: expected one of .*glm.*, got 'glmm'"),
        (["glm", "--theta", "1,2"], r"--theta: expected 10 numbers \(b_0, .*\), got 2"),
        (["glm", "--theta", "-2,1", "--seed", "1"], "--theta: expected 10 numbers .* got 2"),
        (["glm", "--theta", "-inf" + 9 * ",1"], "theta: expected b_0 finite, got -inf"),
        (["glm", "--theta", "--seed", "1"], "--theta: expected one argument"),
        (["hodgkin_huxley", "--theta=-50,5,1,1,60,60,1,70"], "theta: expected g_Na ≥ 0 and finite"),
        (["hodgkin_huxley", "--theta=50,5,1,1,60,60,1,nan"], "theta: expected -E_l .* got nan"),
        (["glm", "--theta", "a,b"], "--theta: expected numbers with commas between .* got 'a,b'"),
        (["glm", "--plot", "/no/such/folder/x.png"], "--plot: expected a folder that exists"),
        (["glm", "--plot", "x.xyz"], "--plot: expected a name that ends in one of .*png"),
        (["glm", "--plot", "x.pgf"], "--plot: expected a name that ends in one of .* got x.pgf"),
        (["glm", "--seed", "-1"], "--seed: expected a whole number from 0 to 4294967295, got '-1'"),
        (["glm", "--seed", str(SEEDS)], "--seed: expected .* got '4294967296'"),
        (["glm", "--seed", "9" * 5000], "--seed: expected a whole number from 0 to 4294967295"),
        (["glm", "--seed", "x"], "--seed: expected a whole number from 0 to .* got 'x'"),
        (["glm", "--size", "3"], "unrecognized arguments: --size 3; python -m simulators --help"),
        (["channels", "--theta=1,1,1,-1,1,1,1,1"], "theta: expected d ≥ 0 and finite"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, words, capsys):
    assert main([*arguments, "--no-cache"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1
    assert re.match(words, error), error


def test_an_unwritable_file_is_told(tmp_path, capsys):
    (tmp_path / "taken.png").mkdir()
    assert main(["glm", "--no-cache", "--plot", str(tmp_path / "taken.png")]) == 2
    assert capsys.readouterr().err.startswith("--plot: cannot write")


def test_without_matplotlib_it_is_told(monkeypatch, capsys):
    original = builtins.__import__

    def refuse(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["glm", "--no-cache"]) == 2
    assert capsys.readouterr().err.startswith("matplotlib is not installed")


@pytest.mark.parametrize("home", ["/somewhere", None])
def test_compiled_programs_are_kept_where_the_library_keeps_them(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", home) if home else monkeypatch.delenv(
        "XDG_CACHE_HOME", raising=False
    )
    kept = {}
    monkeypatch.setattr(type(jax.config), "update", lambda _, *setting: kept.update([setting]))
    assert main(["none", "--no-cache"]) == 2 and not kept
    assert main(["none"]) == 2
    ours = dict(kept)
    kept.clear()
    keep_compilations()
    assert ours == kept and len(ours) == 2
