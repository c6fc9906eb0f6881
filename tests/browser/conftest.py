"""A browser without a screen and without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
except ImportError:
    pytest.exit("tests/browser needs selenium: pip install -e '.[dev]'", returncode=1)

_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Whatever a page would fetch ends here.
    *("--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
_INSTALL = "apt-get install chromium chromium-driver, or any Chromium with its chromedriver"


def _found(*names: str) -> str:
    path = next((path for name in names if (path := shutil.which(name))), None)
    if path is None:
        pytest.fail(f"tests/browser needs {names[0]}, which is not on the PATH: {_INSTALL}")
    return path


@pytest.fixture(scope="session")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = _found("chromium", "chromium-browser", "google-chrome")
    for argument in (*_ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_found("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def browser(one_browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A browser whose pages neither fetch anything nor report an error."""
    one_browser.get("about:blank")
    reported(one_browser)  # of an earlier page
    yield one_browser
    assert reported(one_browser) == []
    loaded = one_browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert loaded == []


def reported(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """Return what has come to the browser's console since the last call."""
    entries: list[dict[str, Any]] = browser.execute("getLog", {"type": "browser"})["value"]
    return entries


def opened(browser: webdriver.Chrome, path: Path, *, width: int = 1280, dark: bool = False) -> None:
    """Open a page in a window of this width, in the system's light or dark theme."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    browser.get(path.as_uri())
    browser.execute_script("try { localStorage.clear() } catch { }")
    browser.get(path.as_uri())
