"""A server on a pool of threads, asked for windows over HTTP while it serves; 200 windows."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

import harness
from tests.conftest import ROOT

LIMIT_S = 120
SERVER = ROOT / "tests" / "support" / "toy_server.py"
MANY = ROOT / "tests" / "support" / "many_windows.py"
PRODUCTS = {"prefill": 2, "decode": 1}
"""Of a step."""


def test_ten_windows_of_a_server_while_it_serves(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        token = (tmp_path / "http-token").read_text().strip()
        for number in range(10):
            stage = ("prefill", "decode")[number % 2]
            body = json.dumps({"steps": 4, "stage": stage}).encode()
            answer = asked(address, token, body)
            assert (answer["window"], answer["verdict"], answer["reason"]) == (
                number,
                "delivered",
                "",
            )
            check(harness.load(answer["folder"]), stage)
        printed, _ = server.communicate(timeout=LIMIT_S)
    finally:
        server.kill()
        server.wait()
    answered, workers = printed.splitlines()[0].split(" ", 1)
    assert int(answered) > 10
    assert workers.count("harness") == 3  # recording, reading, HTTP: no more than at the start
    assert printed.splitlines()[1] == "['MainThread']"
    assert server.returncode == 0


def asked(address: str, token: str, body: bytes) -> dict[str, Any]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=LIMIT_S)
    connection.request("POST", "/windows", body, {"Authorization": f"Bearer {token}"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def check(run: harness.Run, stage: str) -> None:
    """Each of the steps has the products of its stage, and no other's."""
    products = run.tables["operators"].filter(pl.col("name") == "aten::mm")
    in_steps = products.filter(pl.col("step").is_not_null())
    counts = in_steps.group_by("step", "stage").len().sort("step").rows()
    assert counts == [(step, stage, PRODUCTS[stage]) for step in (1, 2, 3, 4)]


def test_two_hundred_windows_leave_nothing_over(tmp_path: Path) -> None:
    def measured(kind: str) -> dict[str, int]:
        done = subprocess.run(
            [sys.executable, str(MANY), kind, str(tmp_path / kind)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=LIMIT_S,
        )
        found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return found

    bare, session = measured("bare"), measured("session")
    assert session["windows"] == 200
    assert (session["threads"], session["descriptors"]) == (0, 0)
    # Grown between the 20th window and the 200th, both trimmed.
    assert session["grown_mib"] <= bare["grown_mib"] + 8, (session, bare)
