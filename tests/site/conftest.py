"""What the checks of the built site share: the site served from this machine, and one browser for all pages."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "_build" / "html"
# Each keeps Chromium from asking anyone else, or lets it run as root and without a screen. Routing requests through
# Playwright would do the former as well, but switches the browser's cache off.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address():
    """The built site's address on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


# Not for the session: while Playwright runs, its event loop would be in the way of the notebooks' kernels.
@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, without a window."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no Chromium on this machine: `apt-get install chromium`, or Google Chrome on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], headless=True, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
