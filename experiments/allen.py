"""Recordings from the public Allen Cell Types Database: soma area [cm²] = τ_m [s] / R_in [MΩ].

A membrane of 1 µF/cm² has the area τ_m/(R_in · 1 µF/cm²), which is that quotient in cm². The
database gives both (EphysFeature `tau` [ms], `ri` [MΩ]) and the sweeps as an NWB file. The
folder keeps `cell_<id>.nwb`, and beside it `cell_<id>.json` with the numbers that the file lacks.
"""

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

API = "https://api.brain-map.org"
TIMEOUT = 60.0  # s without an answer or a further byte
CHUNK = 1 << 20
SIGNATURE = b"\x89HDF\r\n\x1a\n"  # of an HDF5 file, which an NWB file is


def download(cell_id: int, folder: str | Path, api: str = API, timeout: float = TIMEOUT) -> Path:
    """Fetch cell `cell_id` into `folder`; the path of its NWB file, at once if it is there already.

    Raises ValueError where the database has no such cell, cannot be reached or breaks off. A file
    under its final name is a whole HDF5 file; anything else found there is fetched anew.
    """
    if isinstance(cell_id, bool) or not str(cell_id).isdecimal() or int(cell_id) <= 0:
        raise ValueError(
            f"--download: expected a positive whole number, came {cell_id!r}; "
            "take one from celltypes.brain-map.org"
        )
    cell_id, folder = int(cell_id), Path(folder)
    target, notes = folder / f"cell_{cell_id}.nwb", folder / f"cell_{cell_id}.json"
    try:
        if notes.is_file() and target.is_file() and flaw(target) is None:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        area, link = _look_up(cell_id, api, timeout)
        _write(notes, json.dumps({"cell_id": cell_id, "source": api, **area}, indent=1))
        _fetch(urllib.parse.urljoin(api, link), target, timeout)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"download of cell {cell_id}: expected a recording from {api} and {folder} to be "
            f"writable, came: {reason}; check the network, or pass a recording with --cell"
        ) from error
    return target


def soma_area(path: str | Path) -> float | None:
    """Area [cm²] from the notes that `download` left beside an NWB file, None without them."""
    notes = Path(path).with_suffix(".json")
    if not notes.is_file():
        return None
    try:
        return float(json.loads(notes.read_text())["soma_area_cm2"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{notes}: expected a JSON object with soma_area_cm2, came {error!r}; "
            "delete it and download the cell again"
        ) from error


def flaw(path: Path) -> str | None:
    """What is wrong with a file that should be HDF5, None for nothing; cut ones where h5py is."""
    with path.open("rb") as file:
        start = file.read(60)
    if not start.startswith(SIGNATURE):
        return f"what begins with {start!r}" if start else "an empty file"
    try:
        import h5py
    except ImportError:
        return None
    try:
        h5py.File(path, "r").close()
    except OSError as error:
        return f"a file that was cut or altered ({error})"
    return None


def _look_up(cell_id: int, api: str, timeout: float) -> tuple[dict[str, float], str]:
    kind = "well_known_file_type[name$eqNWBDownload]"
    query = (
        f"model::Specimen,rma::criteria,[id$eq{cell_id}],ephys_result(well_known_files({kind})),"
        "rma::include,ephys_features,ephys_result(well_known_files(well_known_file_type))"
    )
    quoted = urllib.parse.quote(query, safe=":,[]$()")
    url = urllib.parse.urljoin(api, f"/api/v2/data/query.json?criteria={quoted}")
    with _open(url, timeout) as answer:
        text = answer.read()
    try:
        found = json.loads(text)["msg"]
        if not found:
            raise ValueError(
                f"--download: {api} has no cell {cell_id} with an NWB file; "
                "take an id from celltypes.brain-map.org"
            )
        features = found[0]["ephys_features"][0]
        tau, resistance = float(features["tau"]), float(features["ri"])
        files = found[0]["ephys_result"]["well_known_files"]
        link = next(f["download_link"] for f in files if "NWB" in _kind(f))
    except (json.JSONDecodeError, KeyError, IndexError, TypeError, StopIteration) as error:
        raise ValueError(
            f"cell {cell_id}: expected ri, tau and an NWB file from {api}, came an answer without "
            f"({error!r}): {text[:80]!r}"
        ) from error
    if not (tau > 0 and resistance > 0):
        raise ValueError(f"cell {cell_id}: expected ri and tau above 0, came {resistance}, {tau}")
    area = 1e-3 * tau / resistance
    return {"tau_ms": tau, "r_in_mohm": resistance, "soma_area_cm2": area}, link


def _kind(file: dict) -> str:
    return file.get("well_known_file_type", {}).get("name", "NWB")


def _open(url: str, timeout: float):
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"api: expected an address with http or https, came {url.split('?')[0]!r}")
    request = urllib.request.Request(url, headers={"User-Agent": "jaxsbi"})
    return urllib.request.urlopen(request, timeout=timeout)


def _fetch(url: str, target: Path, timeout: float) -> None:
    part = target.with_suffix(".nwb.part")
    try:
        with _open(url, timeout) as answer, part.open("wb") as file:
            expected = answer.headers.get("Content-Length")
            while chunk := answer.read(CHUNK):
                file.write(chunk)
            if expected is not None and file.tell() != int(expected):
                raise OSError(f"the transfer ended after {file.tell()} of {expected} bytes")
        if found := flaw(part):
            raise OSError(f"no recording but {found}")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".json.part")
    part.write_text(text + "\n")
    os.replace(part, path)
