"""A real browser without a library: Chromium in a headless process, spoken to through two pipes (DevTools protocol)."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "no-sandbox disable-gpu disable-quic no-first-run "
    "disable-background-networking disable-component-update disable-sync"
)
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Page:
    """One page, with what its user does and what it says."""

    def __init__(self, told: Any, heard: Any) -> None:
        self._told, self._heard, self._number, self._session = told, heard, 0, None
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._told.write(json.dumps(message).encode() + b"\0")
        self._told.flush()
        while (answer := self._next()).get("id") != self._number:
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(answer["params"]))
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> Any:
        text = bytearray()
        while (byte := self._heard.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        return json.loads(text)

    def open(self, url: str, width: int = 1200, height: int = 800) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=url)
        self.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def run(self, script: str) -> Any:
        """The value of a script, once two frames are drawn and what it waits for is there."""
        frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        script = f"(async () => {{ await {frames}; return await ({script}); }})()"
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def key(self, key: str) -> None:
        event = {"key": key, "windowsVirtualKeyCode": KEYS.get(key, 0), **({"text": key} if len(key) == 1 else {})}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("Pressed", *start, button="left", buttons=1, clickCount=1)
        self.mouse("Moved", *end, button="left", buttons=1)
        self.mouse("Released", *end, button="left", clickCount=1)


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Chromium with a profile of its own, ended with the block."""
    to_read, told = os.pipe()
    heard, to_write = os.pipe()
    pipes = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
    options = [f"--{option}" for option in QUIET.split()]
    command = [CHROMIUM, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", *options]
    shell = ["bash", "-c", pipes, *map(str, command)]
    with subprocess.Popen(shell, pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL) as process:
        os.close(to_read)
        os.close(to_write)
        with os.fdopen(told, "wb") as writing, os.fdopen(heard, "rb") as reading:
            try:
                page = Page(writing, reading)
                yield page
                page.call("Browser.close")
            except BaseException:
                process.kill()
                raise
