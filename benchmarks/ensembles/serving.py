"""A service under load while its members change: does every answer come whole, and from one version?

    python benchmarks/ensembles/serving.py [--seconds 60] [--clients 200]

Starts `cuvee serve` on a free port, lets so many clients ask it at once, and adds and removes members all the while.
Every answer is held to what the members of the version that it names say, worked out here from each member alone.
Writes `results/serving.json` and `.md`; the exit code is 1 if an answer failed or was mixed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))
import machine

from cuvee.predict import Ensemble, Member

RESULTS = Path(__file__).parents[1] / "results"
TOKEN = "the token of a benchmark"
STAYING = ("logistic", "bayes")
COMING = ("tree", "stump", "neighbours")
ROWS = 8
"""Rows of a request."""
PAUSE = 0.05
"""Seconds between two changes."""


@dataclass
class Found:
    """What the clients saw.

    Attributes:
        milliseconds: of each answer.
        failed: answers that were none, and what they were.
        answers: first row and body of each answer, looked at when all is over.
        versions: version → its members, as the service said when it became that.
    """

    milliseconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    versions: dict[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The figures."""

    clients: int
    seconds: float
    answers: int
    rows_per_request: int
    failed: int
    mixed: int
    versions: int
    versions_that_answered: int
    changes_failed: int
    p50_ms: float
    p99_ms: float
    longest_ms: float
    answers_per_second: float


def models(rows: Any, y: Any) -> dict[str, Any]:
    """Members that differ, so that another version is another answer."""
    return {
        "logistic": LogisticRegression(C=0.01, max_iter=300).fit(rows / 16, y),
        "bayes": GaussianNB(var_smoothing=0.1).fit(rows, y),
        "tree": DecisionTreeClassifier(max_depth=6, random_state=0).fit(rows, y),
        "stump": DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows, y),
        "neighbours": KNeighborsClassifier(5, algorithm="brute").fit(rows[:300], y[:300]),
    }


def write(folder: Path, fitted: Mapping[str, Any], rows: Any) -> None:
    """The ensemble, and the members that come, each saved."""
    ensemble = Ensemble(classes=list(range(10)))
    for name in STAYING:
        ensemble.add(Member.sklearn(fitted[name], name=name))
    ensemble.save(folder / "ensemble", rows=rows[:8])
    for name in COMING:
        alone = Ensemble(classes=list(range(10)))
        alone.add(Member.sklearn(fitted[name], name=name))
        alone.save(folder / "members" / name, rows=rows[:8])
    (folder / "token").write_text(TOKEN)


def address_in(lines: Any) -> str:
    """Where the service says that it is, in an object of several lines."""
    text = ""
    for line in lines:
        text += line
        with suppress(json.JSONDecodeError):
            return json.loads(text)["address"]
    raise SystemExit("the service did not begin")


@contextmanager
def served(folder: Path) -> Any:
    """The service, and its address."""
    options = ["--port", "0", "--json", "--token-file", folder / "token", "--members-from", folder / "members"]
    command = [sys.executable, "-m", "cuvee", "serve", folder / "ensemble", *options, "--at-once", "1000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield address_in(process.stdout)
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise SystemExit(f"the service ended with {process.returncode}")


async def client(address: str, asked: list[bytes], number: int, until: float, found: Found) -> None:
    """One client with a connection of its own: asks, waits for the answer, asks again.

    Its HTTP is written by hand: 200 clients that share a pool of connections of httpx wait mostly for one another
    (14 s at the 99th percentile where the service took 1 s), and what is measured is the pool.
    """
    draw = np.random.default_rng(number)
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    while time.monotonic() < until:
        first = int(draw.integers(len(asked)))
        began = time.perf_counter()
        try:
            writer.write(asked[first])
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            took = time.perf_counter() - began
            if not head.startswith("http/1.1 200"):
                raise ValueError(f"{head.splitlines()[0]} {body[:200]!r}")
        except (OSError, EOFError, ValueError, IndexError) as error:
            found.failed.append(f"{type(error).__name__}: {error}")
            writer.close()
            reader, writer = await asyncio.open_connection(host, int(port))
            continue
        found.milliseconds.append(1e3 * took)
        found.answers.append((first, body))
    writer.close()


def requests_of(rows: list[Any]) -> list[bytes]:
    """The request that begins with each row, ready to be sent."""
    bodies = [json.dumps({"rows": rows[first : first + ROWS]}).encode() for first in range(len(rows) - ROWS)]
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]


async def changer(session: httpx.AsyncClient, until: float, found: Found) -> int:
    """Adds and removes members; gives how often that failed."""
    draw, there, failed = np.random.default_rng(0), list(STAYING), 0
    while time.monotonic() < until:
        absent = [name for name in COMING if name not in there]
        leaves = [name for name in there if name in COMING]
        if absent and (not leaves or draw.random() < 0.5):
            name = str(draw.choice(absent))
            answer = await session.post("/members", json={"path": name})
        else:
            name = str(draw.choice(leaves))
            answer = await session.delete(f"/members/{name}")
        if answer.status_code == 200:
            said = answer.json()
            there = [one["name"] for one in said["members"]]
            found.versions[said["version"]] = tuple(there)
        else:
            failed += 1
        await asyncio.sleep(PAUSE)
    return failed


async def load(address: str, rows: list[Any], clients: int, seconds: float) -> tuple[Found, int]:
    """All clients at once, and the changes."""
    found = Found()
    may = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=address, headers=may, timeout=60) as changing:
        said = (await changing.get("/members")).json()
        found.versions[said["version"]] = tuple(one["name"] for one in said["members"])
        asked = requests_of(rows)
        until = time.monotonic() + seconds
        asking = (client(address, asked, number, until, found) for number in range(clients))
        failed, *_ = await asyncio.gather(changer(changing, until, found), *asking)
    return found, failed


def mixed(found: Found, alone: Mapping[str, Any]) -> tuple[int, int]:
    """Answers that are not what the members of the version that they name say together; versions that answered."""
    count, versions = 0, set()
    for first, body in found.answers:
        said = json.loads(body)
        members, known = tuple(said["members"]), found.versions.get(said["version"])
        versions.add(said["version"])
        expected = np.mean([alone[name][first : first + ROWS] for name in known or members], axis=0)
        count += known != members or not np.allclose(said["probabilities"], expected, rtol=0, atol=1e-9)
    return count, len(versions)


def measure(clients: int, seconds: float) -> tuple[Result, list[str]]:
    """One run; the result and what failed."""
    pictures, y = load_digits(return_X_y=True)
    fitted, rows = models(pictures[:900], y[:900]), pictures[900:]
    alone = {name: model.predict_proba(rows) for name, model in fitted.items()}
    with TemporaryDirectory() as name:
        write(Path(name), fitted, rows)
        with served(Path(name)) as address:
            began = time.perf_counter()
            found, changes_failed = asyncio.run(load(address, rows.tolist(), clients, seconds))
            took = time.perf_counter() - began
    times, (wrong, versions) = np.array(found.milliseconds or [np.nan]), mixed(found, alone)
    result = Result(
        clients=clients,
        seconds=round(took, 2),
        answers=len(found.answers),
        rows_per_request=ROWS,
        failed=len(found.failed),
        mixed=wrong,
        versions=len(found.versions),
        versions_that_answered=versions,
        changes_failed=changes_failed,
        p50_ms=round(float(np.median(times)), 1),
        p99_ms=round(float(np.percentile(times, 99)), 1),
        longest_ms=round(float(times.max()), 1),
        answers_per_second=round(len(found.answers) / took, 1),
    )
    return result, found.failed


def page(result: Result, facts: Mapping[str, Any]) -> str:
    """The figures as a page."""
    rows = [f"| {name.replace('_', ' ')} | {value:,} |" for name, value in asdict(result).items()]
    lines = [
        "# A service under load while its members change",
        "",
        f"{result.clients} clients ask `cuvee serve` at once, {result.rows_per_request} rows of digits each time, "
        "while members are added (loaded from disk, all checks made) and removed. An answer is mixed if it is not, to "
        "1e-9, what the members of the version that it names say together. Clients and service share the machine: "
        f"{facts['cores']} cores of {facts['processor']}, which "
        f"{facts['load_before']} processes wanted before. `python benchmarks/ensembles/serving.py` writes this page.",
        "",
        "| | |",
        "| --- | --- |",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    busy = machine.load()
    result, failed = measure(asked.clients, asked.seconds)
    facts = {**machine.facts(Path(__file__).parent, None), "load_before": busy}
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "serving.json").write_text(json.dumps({**asdict(result), "machine": facts}, indent=1) + "\n")
    (asked.out / "serving.md").write_text(page(result, facts))
    print(json.dumps(asdict(result)), *failed[:5], sep="\n", file=sys.stderr)
    return int(bool(result.failed or result.mixed or result.changes_failed or not result.answers))


if __name__ == "__main__":
    sys.exit(main())
