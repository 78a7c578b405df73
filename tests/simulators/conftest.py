"""Shared by the simulator tests: double precision for a block of code."""

import jax
import pytest


@pytest.fixture
def float64():
    """JAX in float64 for the length of a test."""
    with jax.enable_x64(True):
        yield
