"""Small triangular equations, and programs that may run at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from constructed import untrained
from jax.tree_util import Partial

import jaxsbi
from jaxsbi import triangular
from jaxsbi.compilation import at_once


@pytest.mark.parametrize("d", [1, 3, 31])
def test_factors_and_solutions_are_those_of_linear_algebra(d):
    rng = np.random.default_rng(d)
    root, b = rng.normal(size=(d, d)) + 3 * np.eye(d), rng.normal(size=(d, 4))
    matrix = root @ root.T
    factor = triangular.cholesky(jnp.asarray(matrix, "float32"))
    exact = np.linalg.cholesky(matrix)
    np.testing.assert_allclose(factor, exact, atol=2e-5 * np.abs(exact).max())
    lower = jnp.asarray(exact, "float32")
    for transposed in (False, True):
        x = triangular.solve(lower, jnp.asarray(b, "float32"), transposed)
        np.testing.assert_allclose((exact.T if transposed else exact) @ x, b, atol=2e-5)


def test_no_two_programs_that_call_lapack_run_at_once(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    x = jnp.eye(3)
    assert at_once(lambda x: jnp.sin(x) @ x, x) == at_once(Partial(jnp.sin), x) == 2
    assert at_once(lambda x: jax.lax.map(jnp.linalg.cholesky, x[None]), x) == 1
    assert at_once(jax.jit(lambda x: jax.scipy.linalg.solve_triangular(x, x)), x) == 1
    assert at_once(Partial(lambda bound, x: bound[jnp.argmax(x)], np.eye(3)), x) == 2
    assert at_once(Partial(jnp.linalg.inv), x) == 1
    assert at_once(lambda x: np.asarray(x), x) == 1


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [jaxsbi.mdn(), jaxsbi.nsf(), jaxsbi.flow_matching()])
def test_draws_of_every_density_may_be_taken_at_once(estimator, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    posterior = untrained(estimator, jaxsbi.box([0.0] * 3, [1.0] * 3), jnp.zeros(4))
    x = jnp.zeros((5, 4))
    assert at_once(lambda key: posterior.sample(key, 7, x), jax.random.key(0)) == 2
