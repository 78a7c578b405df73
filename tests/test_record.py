"""What a finished run found is kept as it is, its figures small; an unfinished one is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import record


def test_numbers_are_kept_as_they_are_and_figures_become_small(tmp_path):
    run, kept = tmp_path / "run", tmp_path / "kept"
    (run / "figures").mkdir(parents=True)
    found = {
        "settings": {"study": "a", "preset": "laptop"},
        "command": "do --data d --out 'x y' --seed 1",
        "x": 0.1,
        "σ": None,
    }
    (run / "results.json").write_text(json.dumps(found))
    pixels = np.random.default_rng(0).integers(0, 255, (300, 2000, 3), np.uint8)
    Image.fromarray(pixels).save(run / "figures" / "wide.png")
    np.savez(run / "rho.npz", rho=pixels[0, 0])
    Image.fromarray(pixels[:, :500]).save(run / "figures" / "narrow.png")
    (kept / "a").mkdir(parents=True)
    (kept / "a" / "old.png").write_text("of an earlier run")
    told = json.loads(record.record(run, kept).read_text())
    assert told == found | {"command": "do --data DIR --seed 1"}
    sizes = {path.name: Image.open(path).size for path in (kept / "a").glob("*.png")}
    assert sizes == {"wide.png": (1000, 150), "narrow.png": (500, 300)}
    with np.load(kept / "a" / "rho.npz") as arrays:
        np.testing.assert_array_equal(arrays["rho"], pixels[0, 0])
    assert len(list((kept / "a").iterdir())) == 3


@pytest.mark.parametrize("colours", [3, 2000])
def test_a_colour_of_few_pixels_is_kept(tmp_path, colours):
    """Of blues a palette has plenty to fill itself with, and none left for one red mark."""
    (tmp_path / "run" / "figures").mkdir(parents=True)
    found = {"settings": {"study": "a", "preset": "laptop"}, "command": "do"}
    (tmp_path / "run" / "results.json").write_text(json.dumps(found))
    shades = np.random.default_rng(0).integers(0, colours, (200, 300))
    pixels = np.stack([shades // 256, shades % 256, np.full_like(shades, 200)], -1).astype(np.uint8)
    pixels[50:53, 70:73] = 213, 94, 0
    Image.fromarray(pixels).save(tmp_path / "run" / "figures" / "marked.png")
    record.record(tmp_path / "run", tmp_path / "kept")
    with Image.open(tmp_path / "kept" / "a" / "marked.png") as image:
        np.testing.assert_array_equal(image.convert("RGB"), pixels)


def test_runs_of_other_presets_are_kept_beside_the_default_one(tmp_path):
    found = {"settings": {"study": "a", "preset": "overnight"}, "command": "do"}
    (tmp_path / "results.json").write_text(json.dumps(found))
    assert record.record(tmp_path, tmp_path / "kept").name == "a_overnight.json"
    assert (tmp_path / "kept" / "a_overnight").is_dir()


def test_what_is_no_finished_run_is_refused_in_one_line(tmp_path, capsys):
    assert record.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: RUN {str(tmp_path)[:20]}")
    assert record.main([]) == 2
