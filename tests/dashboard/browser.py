"""Debian's Chromium without a window, driven through a pipe by the DevTools protocol; nothing but Python's own library.

with Browser() as browser:
    page = browser.page("file:///...", width=1280, height=900, dark=False)
    page.value("document.title")
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PATIENCE = 120.0  # seconds for one answer: busy machines are slow, and nothing here measures speed


def find_chromium():
    """Its path, or None."""
    named = os.environ.get("MLBENCH_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class BrowserError(Exception):
    pass


class Browser:
    def __init__(self):
        self._profile = tempfile.mkdtemp(prefix="mlbench-chromium-")
        to_browser, self._write = _high_pipe()
        self._read, from_browser = _high_pipe()
        arguments = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--no-first-run",
                     "--hide-scrollbars", "--disable-lcd-text", "--force-color-profile=srgb", f"--user-data-dir={self._profile}", "about:blank"]
        # Chromium expects the pipe as 3 and 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", find_chromium(), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(to_browser, from_browser))
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._next = 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method, session=None, **params):
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._write_all(json.dumps(message).encode() + b"\0")
        wanted, until = self._next, time.monotonic() + PATIENCE
        while True:
            answer = self._receive(until)
            if answer.get("id") == wanted:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                return answer["result"]
            self.events.append(answer)

    def listen(self, seconds):
        """Takes in the events of the next moments."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.events.append(self._receive(until))
            except BrowserError:
                return

    def _write_all(self, data):
        while data:
            data = data[os.write(self._write, data):]

    def _receive(self, until):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise BrowserError("Chromium did not answer in time")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise BrowserError(f"Chromium ended by itself, with {self._process.wait()}")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def page(self, url=None, width=1280, height=900, dark=False, mobile=False, motion=True):
        """A new one, of this address when it stands; of none, an empty one."""
        return Page(self, url, width, height, dark, mobile, motion)


def _high_pipe():
    """With numbers that no shell gives away."""
    return [_moved(end) for end in os.pipe()]


def _moved(descriptor):
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return high


class Page:
    def __init__(self, browser, url, width, height, dark, mobile, motion):
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._target = target
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.media(dark, motion)
        if url:
            self.go(url)

    def media(self, dark, motion=True):
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "no-preference" if motion else "reduce"}])

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def go(self, url):
        """Opens the page and waits until it says that it stands; seconds that took."""
        begin = time.monotonic()
        self.call("Page.navigate", url=url)
        self.until("document.documentElement?.dataset.ready === 'true'")
        return time.monotonic() - begin

    def reload(self):
        """Waits until the new page stands; the old one answers for a while."""
        self.value("document.documentElement.dataset.ready = 'before'")
        self.call("Page.reload")
        self.until("document.documentElement?.dataset.ready === 'true'")

    def value(self, expression):
        """Of an expression of JavaScript; a promise's outcome."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def until(self, expression):
        deadline = time.monotonic() + PATIENCE
        while not self._comes_true(expression):
            if time.monotonic() > deadline:
                raise BrowserError(f"never came true: {expression}")
            time.sleep(0.02)

    def _comes_true(self, expression):
        try:
            return self.value(expression)
        except BrowserError as error:
            if "navigated" in str(error) or "context was destroyed" in str(error):
                return False  # asked between two pages
            raise

    def show(self, fragment):
        """The view behind #; waits until it is drawn."""
        self.value("new Promise((done) => { if (location.hash === %s) return done(); "
                   "addEventListener('hashchange', () => setTimeout(done), { once: true }); location.hash = %s; })" %
                   (json.dumps("#" + fragment), json.dumps("#" + fragment)))

    def press(self, key, code=None, number=0, text=None, shift=False):
        """A key, as from a keyboard."""
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def tab(self, back=False):
        self.press("Tab", number=9, shift=back)

    def enter(self):
        self.press("Enter", number=13, text="\r")

    def problems(self):
        """Everything that the console, the policy or a failed request said since the beginning."""
        self._browser.listen(0.2)
        out = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                out.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                out.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                out.append(params["entry"]["text"])
            elif event["method"] == "Page.javascriptDialogOpening":
                out.append("a dialog: " + params["message"])
        return out

    def requests(self):
        """Addresses that were asked for."""
        self._browser.listen(0.2)
        return [e["params"]["request"]["url"] for e in self._browser.events
                if e.get("sessionId") == self._session and e["method"] == "Network.requestWillBeSent"]

    def picture(self, path, height, scale=1.0):
        """Of the page from its top on, at most so high."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height), "scale": scale}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
