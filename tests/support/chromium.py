"""A headless Chromium that reaches nothing but this machine, and the Perfetto UI in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
_ALONE = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_LIMIT_S = 90
_LOADED = "return !!(window.app && app.trace && app.trace.engine)"
_QUERY = """
const [sql, done] = arguments;
app.trace.engine.query(sql).then(result => {
    const columns = result.columns(), rows = [];
    for (const row = result.iter({}); row.valid(); row.next())
        rows.push(columns.map(name => {
            const value = row.get(name);
            return typeof value === 'bigint' ? Number(value) : value;
        }));
    done(rows);
}, error => done(String(error)));
"""


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Open a browser with a profile of its own; it reaches 127.0.0.1 alone."""
    assert CHROMIUM, "tests/browser needs Chromium: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*_ALONE, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        browser.set_script_timeout(_LIMIT_S)
        yield browser
    finally:
        browser.quit()


def open_trace(browser: webdriver.Chrome, url: str) -> None:
    """Open the Perfetto UI at an address, and wait until its trace is loaded."""
    browser.get("about:blank")
    browser.get(url)
    end = time.monotonic() + _LIMIT_S
    while not browser.execute_script(_LOADED):
        text = browser.execute_script("return document.body.innerText")
        assert time.monotonic() < end, text
        time.sleep(0.2)


def query(browser: webdriver.Chrome, sql: str) -> list[list[Any]]:
    """Return the rows of a query to the trace that is open."""
    rows = browser.execute_async_script(_QUERY, sql)
    assert isinstance(rows, list), rows
    return rows
