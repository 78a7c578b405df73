"""`python -m experiments.record RUN …`: what a finished run found, to keep beside the code.

results.json goes to experiments/results/<study>.json, the figures, small, and the arrays that lie
beside it to a folder of that name; those of another preset than the default one to
<study>_<preset>.
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
COLOURS = 256  # of a palette; with fewer an image loses nothing by one
OUT, DATA = "--out", "--data"


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

    Folders are others on every machine: its command is kept without that of the run, and with a
    word in place of that of recordings, without which it would be a run of something else.
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
            small = image.convert("RGB")
        if small.width > WIDTH:
            small = small.resize((WIDTH, max(1, round(small.height * WIDTH / small.width))))
        # a palette of more colours than it holds would give the rare ones, of single marks, away
        few = small.getcolors(COLOURS) is not None
        (small.quantize(COLOURS) if few else small).save(figures / path.name, optimize=True)
    for path in sorted(folder.glob("*.npz")):
        shutil.copyfile(path, figures / path.name)
    target = kept / f"{name}.json"
    anywhere = shlex.join("DIR" if before == DATA else word
                          for word, before in zip(words, ["", *words], strict=False)
                          if OUT not in (word, before))  # fmt: skip
    text = json.dumps(found | {"command": anywhere}, indent=1, ensure_ascii=False)
    target.write_text(text + "\n")
    return target


if __name__ == "__main__":
    sys.exit(main())
