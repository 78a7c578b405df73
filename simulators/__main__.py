"""Draw a run of a model with its features marked.

python -m simulators hodgkin_huxley --theta 50,5,0.1,0.07,600,60,0.1,70 --seed 1 --plot run.png
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import MODELS

SEEDS = 2**32  # jax.random.key takes a seed modulo this
KINDS = (".png", ".svg", ".pdf")  # what matplotlib draws by itself


class Refused(Exception):
    """A request that cannot be met; its message is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(
            f"{message.removeprefix('argument ')}; {self.prog} --help tells what there is"
        )


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed < SEEDS:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 0 to {SEEDS - 1}, got {text[:60]!r}"
        )
    return seed


def _keep_compilations() -> None:
    """The cache of compiled programs in the user's cache folder, the one that jaxsbi keeps."""
    import jax

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(home / "jaxsbi"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise Refused(
            "matplotlib is not installed: run python -m pip install 'jaxsbi[plot]'"
        ) from None
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def _theta(text: str | None, model: Any) -> np.ndarray:
    """theta from comma-separated numbers, NOMINAL without any."""
    if text is None:
        return model.NOMINAL
    names = ", ".join(p.name for p in model.PARAMETERS)
    try:
        theta = np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise Refused(
            f"--theta: expected numbers with commas between ({names}), got {text!r}"
        ) from None
    if len(theta) != len(model.PARAMETERS):
        raise Refused(
            f"--theta: expected {len(model.PARAMETERS)} numbers ({names}), got {len(theta)}"
        )
    return theta


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m simulators", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--theta", metavar="1,2,…", help="parameters; default: the nominal ones")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the noise")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="png, svg or pdf; default: MODEL.png"
    )
    parser.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="do not keep compiled programs in the user's cache folder",
    )
    given = list(sys.argv[1:] if arguments is None else arguments)
    for i in reversed(range(1, len(given))):
        # argparse takes -2,1 for an option of its own
        if given[i - 1] == "--theta" and given[i].startswith("-") and _number(given[i]):
            given[i - 1 : i + 1] = [f"--theta={given[i]}"]
    return parser.parse_args(given)


def _number(text: str) -> bool:
    """Whether a list of numbers begins here."""
    try:
        float(text.split(",")[0])
    except ValueError:
        return False
    return True


def draw(name: str, text: str | None, seed: int, path: Path | None) -> Path:
    """Write the figure of one run and give its path; Refused or ValueError for bad requests."""
    if name not in MODELS:
        raise Refused(f"MODEL: expected one of {', '.join(MODELS)}, got {name!r}")
    path = Path(f"{name}.png") if path is None else path
    plt = _pyplot()
    if path.suffix.lower() not in KINDS:
        raise Refused(f"--plot: expected a name that ends in one of {', '.join(KINDS)}, got {path}")
    if not path.parent.is_dir():
        raise Refused(f"--plot: expected a folder that exists, got {path.parent}; make it first")
    import jax

    from ._drawings import DRAWINGS

    model = importlib.import_module(f"simulators.{name}")
    theta = _theta(text, model)
    figure = DRAWINGS[name](plt, jax.random.key(seed), theta)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise Refused(f"--plot: cannot write {path} ({error.strerror or error})") from None
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 with one line on standard error."""
    try:
        options = _arguments(arguments)
        if options.cache:
            _keep_compilations()
        path = draw(options.model, options.theta, options.seed, options.plot)
    except (Refused, ValueError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
