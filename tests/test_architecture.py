"""The house: each module of jaxsbi imports from layers below its own; packages keep apart."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    (
        "types",
        "compilation",
        "progress",
        "serialization",
        "ledger",
        "coordinates",
        "maximum",
        "arguments",
        "extras",
        "triangular",
    ),
    (
        "priors",
        "dataset",
        "bijectors",
        "gaussians",
        "mcmc",
        "importance",
        "hosts",
        "writers",
        "digests",
    ),
    ("networks", "observations", "records", "simulation", "ensembles"),
    ("contexts", "mixtures", "descent", "images", "fingerprints", "parameters"),
    ("embeddings", "flow_matching", "flows", "stores", "checkpoints"),
    ("estimators", "losses", "opening", "filling", "trained"),
    ("likelihoods", "campaigns", "guides"),
    ("posteriors", "training"),
    ("streaming",),
    ("validity",),
    ("algorithms",),
    ("learning", "storage"),
    ("keeping",),
    ("collecting",),
    ("rounds", "diagnostics", "analysis", "reference"),
    ("fitting", "problems", "files", "options", "plotting"),
    ("contents",),
    ("commands",),
)
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}


def imported(path: Path) -> set[str]:
    """Full names of all modules a file imports, inside functions too."""
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_every_module_has_a_layer():
    found = {path.relative_to(ROOT / "jaxsbi").parts[0] for path in sources("jaxsbi")}
    assert {name.removesuffix(".py") for name in found} - {"__init__", "__main__"} == set(LEVEL)


@pytest.mark.parametrize("path", sources("jaxsbi"), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_import_from_lower_layers_only(path):
    own = path.relative_to(ROOT / "jaxsbi").parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "jaxsbi" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != own:
            assert LEVEL[parts[1]] < LEVEL[own], f"{own} imports {name}"


@pytest.mark.parametrize(("folder", "other"), [("jaxsbi", "simulators"), ("simulators", "jaxsbi")])
def test_library_and_simulators_do_not_know_each_other(folder, other):
    for path in sources(folder):
        assert not any(name.split(".")[0] in (other, "experiments") for name in imported(path)), (
            path
        )


@pytest.mark.parametrize("path", sources("jaxsbi"), ids=lambda p: str(p.relative_to(ROOT)))
def test_distrax_is_known_to_bijectors_and_flows_only(path):
    if any(name.split(".")[0] == "distrax" for name in imported(path)):
        assert path.name in ("bijectors.py", "flows.py")


def test_no_pickle_anywhere():
    for folder in ("jaxsbi", "simulators", "experiments"):
        for path in sources(folder):
            assert not imported(path) & {"pickle", "cloudpickle", "dill", "joblib"}, path


def test_annotations_tell_the_truth_on_the_main_path():
    """Simulate, infer, evaluate, save and load with every signature of jaxsbi checked."""
    program = """
import jaxtyping, pathlib, sys, tempfile
with jaxtyping.install_import_hook("jaxsbi", "beartype.beartype"):
    import jax, jax.numpy as jnp, jaxsbi
prior = jaxsbi.box([-1.0, -1.0], [1.0, 1.0])
simulate = lambda key, theta: theta + 0.1 * jax.random.normal(key, (2,))
training = jaxsbi.Training(max_epochs=2, anneal=1)
estimator = jaxsbi.mdn(components=1, hidden=(8,))
posterior = jaxsbi.infer(jax.random.key(0), simulate, prior, jnp.zeros(2), simulations=200,
                         estimator=estimator, training=training, progress=False)
theta = posterior.sample(jax.random.key(1), 10)
assert posterior.log_prob(theta).shape == (10,)
assert posterior.log_prob(theta, x=jnp.zeros((3, 2))).shape == (3, 10)
posterior.map()
with tempfile.TemporaryDirectory() as folder:
    posterior.save(pathlib.Path(folder) / "posterior")
    jaxsbi.load(pathlib.Path(folder) / "posterior")
theta, x = jaxsbi.simulate(jax.random.key(2), simulate, prior, 200)
jaxsbi.diagnostics.sbc(jax.random.key(3), posterior, theta, x, samples=20)
jaxsbi.fit(jax.random.key(4), theta, x, prior, estimator=estimator, training=training,
           progress=False)
assert not {"arviz", "xarray", "matplotlib", "sklearn"} & set(sys.modules)
print("checked")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "checked", done.stderr[-3000:]
