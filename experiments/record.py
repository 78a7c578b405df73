"""`python -m experiments.record RUN …`: what a finished run found, to keep beside the code.

results.json goes to experiments/results/<study>.json, the figures, small, to a folder of that name;
those of another preset than the default one to <study>_<preset>.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.arguments import Parser, cut
from experiments.studies import DEFAULT

KEPT = Path(__file__).parent / "results"
WIDTH = 1000  # pixels
FOLDERS = {"--out", "--data"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 2 for a folder that is no finished run, with one line on standard error."""
    parser = Parser(prog="python -m experiments.record", description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folders of runs")
    try:
        for folder in parser.parse(sys.argv[1:] if arguments is None else arguments).runs:
            print(record(folder))
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def record(folder: Path, kept: Path = KEPT) -> Path:
    """Copy what the run in `folder` found to `kept`; the path of its numbers there.

    Its command is kept without the folders, which are others on every machine.
    """
    from PIL import Image

    try:
        found = json.loads((folder / "results.json").read_text())
        study, preset = (found["settings"][name] for name in ("study", "preset"))
        words = shlex.split(found["command"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"RUN {cut(folder)}: expected a folder with the results.json of a finished run; "
            "finish it first"
        ) from None
    name = study if preset == DEFAULT else f"{study}_{preset}"
    figures = kept / name
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    for path in sorted(folder.glob("figures/*.png")):
        with Image.open(path) as image:
            size = WIDTH, max(1, round(image.height * WIDTH / image.width))
            small = image if image.width <= WIDTH else image.convert("RGB").resize(size)
            small.quantize(256).save(figures / path.name, optimize=True)
    target = kept / f"{name}.json"
    anywhere = shlex.join(w for w, before in zip(words, ["", *words], strict=False)
                          if not FOLDERS & {w, before})  # fmt: skip
    text = json.dumps(found | {"command": anywhere}, indent=1, ensure_ascii=False)
    target.write_text(text + "\n")
    return target


if __name__ == "__main__":
    sys.exit(main())
