"""The service over HTTP, asked in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cuvee.errors import UsageError
from cuvee.predict import Ensemble
from cuvee.serving import Limits, Service, make_application
from tests.support.ensembles import CLASSES, SOME, X, by_length, function, of, small
from tests.support.served import TOKEN, TestClient

MAY = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    of(small().members[0]).save(tmp_path / "one", rows=SOME)
    small().save(tmp_path / "two")
    of(function(by_length)).save(tmp_path / "rule", rows=SOME)
    (tmp_path / "out").symlink_to("/")
    return tmp_path


@pytest.fixture
def service(folder: Path) -> Service:
    return Service(small(), Limits(max_rows=20, max_bytes=10_000), TOKEN, folder)


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_application(service)) as found:
        yield found


def codes(answer: Any, status: int) -> list[str]:
    assert answer.status_code == status, answer.text
    assert all(set(fault) == {"code", "message", "hint", "subject"} for fault in answer.json()["faults"])
    return [fault["code"] for fault in answer.json()["faults"]]


def test_predictions_are_those_of_the_ensemble(client: TestClient) -> None:
    said = client.post("/predict", json={"rows": SOME.tolist()}).json()
    ensemble = small()
    assert np.array_equal(said["probabilities"], ensemble.predict_proba(SOME))
    assert said["labels"] == ensemble.predict(SOME).tolist()
    assert (said["version"], said["rows"], said["classes"]) == (1, len(SOME), list(CLASSES))


def test_explanations_sum_to_the_output(client: TestClient) -> None:
    said = client.post("/explain", json={"rows": SOME.tolist()}).json()
    whole = np.sum(said["contributions"], axis=1) + said["base"] + said["calibration"]
    assert np.allclose(whole, said["output"], atol=1e-12)
    assert (said["version"], said["members"]) == (1, ["logistic", "bayes"])


def test_values_of_a_regression(folder: Path) -> None:
    from sklearn.linear_model import Ridge

    from cuvee.predict import Member

    ensemble = of(Member.sklearn(Ridge().fit(X, X[:, 0]), name="r"), classes=(), task="regression")
    with TestClient(make_application(Service(ensemble))) as client:
        said = client.post("/predict", json={"rows": SOME.tolist()}).json()
    assert np.array_equal(said["values"], ensemble.predict(SOME))


def test_members_come_and_go(client: TestClient) -> None:
    before = client.post("/predict", json={"rows": SOME.tolist()}).json()
    said = client.post("/members", json={"path": "one", "name": "third"}, headers=MAY).json()
    assert said["version"] == 2
    assert [member["name"] for member in said["members"]] == ["logistic", "bayes", "third"]
    assert client.post("/predict", json={"rows": SOME.tolist()}).json()["probabilities"] != before["probabilities"]
    assert client.post("/members", json={"path": "two"}, headers=MAY).json()["members"][-1]["name"] == "two"
    for name in ("third", "two"):
        assert client.delete(f"/members/{name}", headers=MAY).status_code == 200
    after = client.post("/predict", json={"rows": SOME.tolist()}).json()
    assert after["probabilities"] == before["probabilities"]
    assert after["version"] == 5
    assert client.get("/members").json()["version"] == 5


def test_who_may_change_members(client: TestClient, folder: Path) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        for answer in (
            client.post("/members", json={"path": "one"}, headers=headers),
            client.delete("/members/bayes", headers=headers),
        ):
            assert codes(answer, 401) == ["not-allowed"]
            assert answer.headers["www-authenticate"] == "Bearer"
    with TestClient(make_application(Service(small(), members_from=folder))) as closed:
        assert codes(closed.delete("/members/bayes", headers=MAY), 403) == ["not-allowed"]
    with TestClient(make_application(Service(small(), token=TOKEN))) as nowhere:
        assert codes(nowhere.post("/members", json={"path": "one"}, headers=MAY), 403) == ["not-allowed"]
    assert client.get("/members").json()["version"] == 1


@pytest.mark.parametrize("path", ["../one", "/etc", "out/etc", ".", "one/../..", "a\0b"])
def test_members_from_elsewhere(client: TestClient, path: str) -> None:
    assert codes(client.post("/members", json={"path": path}, headers=MAY), 403) == ["not-allowed"]


def test_members_that_cannot_join(client: TestClient) -> None:
    post = client.post
    assert codes(post("/members", json={"path": "one"}, headers=MAY), 409) == ["duplicate-member"]
    assert codes(post("/members", json={"path": "none"}, headers=MAY), 422) == ["model-missing"]
    assert codes(post("/members", json={"path": "rule"}, headers=MAY), 422) == ["untrusted-type"]
    assert codes(post("/members", json={"path": 1, "name": ""}, headers=MAY), 422) == ["bad-data"] * 2
    assert codes(post("/members", json={"path": "one", "name": "x", "evidence": "none"}, headers=MAY), 422)
    assert codes(client.delete("/members/none", headers=MAY), 404) == ["unknown-member"]
    assert client.delete("/members/bayes", headers=MAY).status_code == 200
    assert codes(client.delete("/members/logistic", headers=MAY), 422) == ["no-member"]


def test_too_much(client: TestClient) -> None:
    assert codes(client.post("/predict", json={"rows": [[1.0] * 4] * 21}), 413) == ["too-large"]
    assert codes(client.post("/predict", content=b" " * 10_001), 413) == ["too-large"]
    pieces = (b" " * 4_000 for _ in range(3))  # no length is said
    assert codes(client.post("/predict", content=pieces), 413) == ["too-large"]
    assert codes(client.post("/predict", content=b"{"), 422) == ["bad-data"]
    assert codes(client.post("/predict", json={"rows": [[None] * 4]}), 500) == ["member-failed"]


def test_rows_unlike_those_that_are_known_are_the_fault_of_who_asks(folder: Path) -> None:
    with TestClient(make_application(Service(Ensemble.load(folder / "one")))) as client:
        for rows, words in (
            ([[1.0]], "should have the shape [4]; found [1]"),
            (["a text"], "should be arrays of numbers; found texts"),
            ([{"a": 1}], "should be arrays of numbers; found objects"),
        ):
            for path in ("/predict", "/explain"):
                answer = client.post(path, json={"rows": rows})
                assert codes(answer, 422) == ["bad-data", "member-failed"]
                assert words in answer.json()["faults"][0]["message"]
        assert codes(client.post("/predict", json={"rows": [[None] * 4]}), 500) == ["member-failed"]


def test_more_at_a_time_than_the_limit() -> None:
    started, go_on = threading.Semaphore(0), threading.Event()

    def slow(rows: Any) -> Any:
        started.release()
        assert go_on.wait(20)
        return by_length(rows)

    service = Service(of(function(slow)), Limits(at_once=2, threads=2))
    body = {"rows": SOME.tolist()}
    with TestClient(make_application(service)) as client, ThreadPoolExecutor(2) as pool:
        first = [pool.submit(client.post, "/predict", json=body) for _ in range(2)]
        for _ in first:
            assert started.acquire(timeout=20)
        answer = client.post("/predict", json=body)
        go_on.set()
        assert codes(answer, 429) == ["busy"]
        assert answer.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        assert [one.result().status_code for one in first] == [200, 200]
        assert client.post("/predict", json=body).status_code == 200


def test_an_answer_under_way_comes_from_the_version_that_it_began_with() -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(rows: Any) -> Any:
        started.set()
        assert go_on.wait(20)
        return by_length(rows)

    ensemble = of(function(slow, "slow"), function(by_length, "quick"))
    body = {"rows": SOME.tolist()}
    with TestClient(make_application(Service(ensemble, token=TOKEN))) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/predict", json=body)
        assert started.wait(20)
        assert client.delete("/members/slow", headers=MAY).json()["version"] == 2
        assert client.post("/predict", json=body).json()["members"] == ["quick"]
        go_on.set()
        said = asked.result().json()
    assert (said["version"], said["members"]) == (1, ["slow", "quick"])


def test_readiness_health_and_metrics(client: TestClient) -> None:
    client.post("/predict", json={"rows": SOME.tolist()})
    client.post("/predict", json={})
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"ready": True}
    text = client.get("/metrics").text
    assert 'cuvee_requests_total{path="/predict",status="200"} 1.0' in text
    assert 'cuvee_requests_total{path="/predict",status="422"} 1.0' in text
    assert f"cuvee_rows_total {len(SOME)}.0" in text
    assert "cuvee_version 1.0" in text
    assert "cuvee_members 2.0" in text
    with TestClient(make_application(Service(Ensemble(classes=CLASSES)))) as empty:
        assert empty.get("/ready").status_code == 503
        assert codes(empty.post("/predict", json={"rows": [[1.0]]}), 422) == ["no-member"]


def test_a_fault_of_ours_tells_nothing_of_its_inner_parts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuvee.serving import service

    def broken(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(service, "rows_from", broken)
    answer = client.post("/predict", json={"rows": SOME.tolist()})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_who_comes_first_is_answered_first() -> None:
    order: list[int] = []
    service = Service(of(function(by_length)), Limits(threads=1))
    application = make_application(service)

    async def ask(session: httpx.AsyncClient, number: int) -> None:
        answer = await session.post("/predict", json={"rows": SOME.tolist()})
        assert answer.status_code == 200
        order.append(number)

    async def all_at_once() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://x") as session:
            await asyncio.gather(*(ask(session, number) for number in range(100)))

    asyncio.run(all_at_once())
    assert order == list(range(100))


def test_paths_and_methods_that_there_are_not(client: TestClient) -> None:
    assert codes(client.get("/nothing"), 404) == ["bad-argument"]
    assert codes(client.get("/predict"), 405) == ["bad-argument"]


def test_what_json_cannot_say_is_a_fault_of_ours(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "members", lambda _: {"weight": float("nan")})
    assert codes(client.get("/members"), 500) == ["member-failed"]


@pytest.mark.parametrize(
    "token", ["", "short", "a token of letters é", "a token\nof two lines.", " a token with blank"]
)
def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(UsageError, match="a token"):
        Service(small(), token=token)


def test_metrics_are_what_prometheus_reads(client: TestClient) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    client.post("/predict", json={"rows": SOME.tolist()})
    answer = client.get("/metrics")
    found = {one.name: one for one in text_string_to_metric_families(answer.text)}
    assert answer.headers["content-type"].startswith("text/plain")
    assert found["cuvee_rows"].samples[0].value == len(SOME)
    assert {"cuvee_requests", "cuvee_request_seconds", "cuvee_version", "cuvee_members"} <= found.keys()
