"""A headless Chromium, spoken to over its pipe: what a page asks for, complains of and shows."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}


class Browser:
    """One page of a browser. events: all that it has told since it was opened."""

    def __init__(self, told: int, tell: int) -> None:
        self.reader, self.writer = os.fdopen(told, "rb"), os.fdopen(tell, "wb")
        self.count, self.events, self.session = 0, [], None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params):
        """A command's result."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        self.writer.write(json.dumps(message).encode() + b"\0")
        self.writer.flush()
        while (answer := self._next()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path) -> None:
        self.events = []
        self("Page.navigate", url=path.as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self.events.append(self._next())

    def ask(self, expression: str):
        """The value of a JavaScript expression, awaited."""
        found = self("Runtime.evaluate", expression=expression, awaitPromise=True,
                     returnByValue=True)  # fmt: skip
        return found["result"].get("value")

    def check(self, page: Path, figures: int) -> None:
        """A page is whole: all figures are there, it asks for nothing, fits a phone and prints."""
        self.open(page)
        widths = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
        found = self.ask(widths)
        assert min(found) > 0 and len(found) == figures
        assert (self.requests, self.complaints) == ([page.as_uri()], [])
        self("Emulation.setDeviceMetricsOverride", **PHONE)
        assert self.ask("document.documentElement.scrollWidth") == PHONE["width"]
        paper = base64.b64decode(self("Page.printToPDF")["data"])
        assert paper.startswith(b"%PDF") and paper.count(b"/Type /Page\n") > 1

    @property
    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened, data within the page left out."""
        sent = (e for e in self.events if e["method"] == "Network.requestWillBeSent")
        asked = (e["params"]["request"]["url"] for e in sent)
        return [url for url in asked if not url.startswith("data:")]

    @property
    def complaints(self) -> list[dict]:
        """Exceptions, and messages of the level of an error or a warning."""
        return [
            e
            for e in self.events
            if e["method"] == "Runtime.exceptionThrown"
            or (e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] != "verbose")
        ]

    def _next(self) -> dict:
        text = bytearray()
        while (byte := self.reader.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        return json.loads(text)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, its own files and no network but what pages ask for."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser to test pages in: none of {', '.join(NAMES)} is installed")
    commands, tell = os.pipe()
    told, answers = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{commands} 4>&{answers}', program, "--headless",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", f"--user-data-dir={profile}",
             "--remote-debugging-pipe", "about:blank"],
            pass_fds=(commands, answers), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        try:
            yield Browser(told, tell)
        finally:
            process.kill()
            process.wait()
