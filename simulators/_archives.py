"""Arrays of an .npz that may be absent, damaged or another's."""

from pathlib import Path

import numpy as np


def read(path: str | Path, *names: str, expected: str, remedy: str) -> tuple[np.ndarray, ...]:
    """The arrays of these names; ValueError, in words what was `expected` and the `remedy`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return tuple(file[name] for name in names)
    except FileNotFoundError:
        raise ValueError(f"path: expected {expected}, {path} is not there") from None
    except Exception as error:
        # A damaged archive fails in many ways: bad zip, bad header, a missing member.
        why = " ".join(str(error).split())
        raise ValueError(f"path: expected {expected}, got {path} ({why}); {remedy}") from error
