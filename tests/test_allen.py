"""The public database, played by a server on this machine: cells come whole or not at all."""

import http.server
import json
import re
import threading

import jax.numpy as jnp
import numpy as np
import pytest
from nwb_files import RATE, SWEEPS, write_nwb_1

from experiments import allen, recordings


class Database(http.server.BaseHTTPRequestHandler):
    cell = {
        "id": 123,
        "ephys_features": [{"tau": 23.4, "ri": 126.0}],
        "ephys_result": {
            "well_known_files": [
                {
                    "download_link": "/api/v2/well_known_file_download/55",
                    "well_known_file_type": {"name": "NWBDownload"},
                }
            ]
        },
    }
    content = b""
    answer = None  # instead of the cell
    file = None  # instead of the recording
    cut = 0  # bytes that are promised but not sent
    tells = True  # how many bytes there are
    asked: list = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/api/v2/data/query.json"):
            found = [self.cell] if "[id$eq123]" in self.path else []
            body = self.answer or json.dumps({"success": True, "msg": found}).encode()
            self.reply(200, body, len(body))
        elif self.path == "/api/v2/well_known_file_download/55":
            body = self.file or self.content
            self.reply(200, body, len(body) + self.cut if self.tells else None)
        else:
            self.reply(404, b"no", 2)

    def reply(self, status, body, length):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "whole.nwb"
    write_nwb_1(path, SWEEPS, RATE)
    handler = type("Handler", (Database,), {"content": path.read_bytes(), "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_downloaded_cell_can_be_observed_and_is_not_fetched_twice(database, tmp_path):
    handler, api = database
    path = allen.download(123, tmp_path / "cells", api)
    assert path.read_bytes() == handler.content
    recording = recordings.load(path)
    assert recording.soma_area == pytest.approx(0.0234 / 126)
    assert recording.name == "cell 123, sweep 8"
    x_o, protocol = recordings.observe(recording)
    assert jnp.all(jnp.isfinite(x_o))
    assert float(np.max(protocol.current)) == pytest.approx(110e-6 / (0.0234 / 126))
    asked = len(handler.asked)
    assert allen.download(123, tmp_path / "cells", api) == path and len(handler.asked) == asked


CUT = allen.SIGNATURE + bytes(1000)


@pytest.mark.parametrize(
    "cell, changes, message",
    [
        (124, {}, "--download: .* has no cell 124 with an NWB file"),
        (-1, {}, "--download: expected a positive whole number, came -1"),
        ("x", {}, "--download: expected a positive whole number, came 'x'"),
        (123, {"file": b"<html>busy</html>"}, "no recording but what begins with b'<html>"),
        (123, {"file": b"<html>", "tells": False}, "no recording but what begins with b'<html>"),
        (123, {"file": CUT, "tells": False}, "no recording but a file that was cut or altered"),
        (123, {"cut": 100}, "download of cell 123: .*came: "),
        (123, {"answer": b"<html>busy</html>"}, "expected ri, tau and an NWB file .*<html>"),
        (123, {"answer": b'{"msg": "error"}'}, "expected ri, tau and an NWB file"),
        (123, {"cell": Database.cell | {"ephys_features": []}}, "expected ri, tau and an NWB"),
        (
            123,
            {"cell": Database.cell | {"ephys_features": [{"tau": 0, "ri": 100.0}]}},
            "ri and tau above 0",
        ),
    ],
)
def test_a_failed_download_says_why_and_leaves_no_recording(
    database, tmp_path, cell, changes, message
):
    handler, api = database
    for name, value in changes.items():
        setattr(handler, name, value)
    with pytest.raises(ValueError, match=message) as caught:
        allen.download(cell, tmp_path, api, timeout=5)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.nwb")) and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("kept", [b"", b"<html>busy</html>", CUT])
def test_a_bad_download_that_was_kept_is_fetched_anew(database, tmp_path, kept):
    handler, api = database
    path = allen.download(123, tmp_path, api)
    path.write_bytes(kept)
    assert allen.download(123, tmp_path, api).read_bytes() == handler.content


def test_without_a_network_there_is_one_clear_error(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), Database) as closed:
        port = closed.server_port
    with pytest.raises(ValueError, match=f"127.0.0.1:{port}.*check the network") as caught:
        allen.download(123, tmp_path, f"http://127.0.0.1:{port}", timeout=5)
    assert re.search("refused", str(caught.value))
    with pytest.raises(ValueError, match="api: expected an address with http or https"):
        allen.download(123, tmp_path, "file:///etc")
