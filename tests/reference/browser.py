"""A headless Chromium, driven through its debugging pipe: pages as a reader sees them, at any width, light or dark.

Needs nothing but the browser: messages are JSON, each ended by a zero byte, over two pipes (Chrome DevTools Protocol).
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")


class Browser:
    """One page of a running browser."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._ids = itertools.count(1)
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")

    def _send(self, method: str, **parameters: Any) -> int:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        return number

    def _read(self) -> dict[str, Any]:
        whole = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "the browser has ended"
            whole += byte
        return json.loads(whole)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = self._send(method, **parameters)
        while (answer := self._read()).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        return answer["result"]

    def open(self, page: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Shows a file; `scheme` is the reader's "light" or "dark"."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._call("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=page.resolve().as_uri())
        deadline_s = time.monotonic() + 60
        while self.run("location.protocol + document.readyState") != "file:complete":
            assert time.monotonic() < deadline_s, f"{page} does not load"
            time.sleep(0.02)

    def print_media(self) -> None:
        """The page as it would be printed, by a reader who prefers dark."""
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        self._call("Emulation.setEmulatedMedia", media="print", features=dark)

    def run(self, script: str) -> Any:
        """The value of an expression, as JSON."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A real key press: "Tab", "Enter", "Escape", "ArrowRight"."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}
        event = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **event)

    def point(self, selector: str, x: float, y: float) -> None:
        """Moves the pointer to a place of an element, in shares of its width and height."""
        box = self.run(f"(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect(); "
                       "return [b.x, b.y, b.width, b.height]; })()")  # fmt: skip
        place = {"x": box[0] + x * box[2], "y": box[1] + y * box[3]}
        self._call("Input.dispatchMouseEvent", type="mouseMoved", **place)

    def picture(self, path: Path) -> None:
        """The whole page as a PNG file."""
        data = self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser of its own, ended afterwards."""
    assert CHROMIUM, "needs chromium"
    read_by_browser, to_browser = os.pipe()
    from_browser, written_by_browser = os.pipe()
    # It reads from 3 and writes to 4, whatever they were here.
    command = 'exec "$0" "$@" 3<&{} 4>&{}'.format(*(ends := (read_by_browser, written_by_browser)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            ["bash", "-c", command, *arguments], pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for end in ends:
            os.close(end)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            process.terminate()
            process.wait(timeout=30)
