"""`cuvee push`, and merges whose output is a URL: looked at first, whole or not taken for whole, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cuvee
from cuvee.api import pushing
from cuvee.errors import CheckFailed, InputError, OutputExists, ResourceError, UsageError
from tests.remote.conftest import SECRET
from tests.support.command_line import call, spawn
from tests.support.fake_hub import FakeHub, running
from tests.support.merging import decoder, files, linear, write
from tests.support.stores import Bucket

URL = "s3://cellar/made/x"


@pytest.fixture
def out(models: Path) -> Path:
    """A finished output in several files, with an index."""
    cuvee.merge(linear(models / "a", models / "b"), models / "out", shard_size="2KB")
    assert (models / "out" / "model.safetensors.index.json").exists()
    return models / "out"


def puts(bucket: Bucket) -> list[str]:
    return [path.removeprefix("/cellar/made/x/") for method, path, _, _ in bucket.trouble.lines if method == "PUT"]


# --- looking, and sending to a store


def test_without_yes_nothing_is_written(bucket: Bucket, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "push", out, URL)
    assert ran.code == 0
    assert "nothing was sent, --yes does it" in ran.out
    assert f"no README.md: `cuvee card {out}` writes a model card" in " ".join(ran.out.split("\n"))
    (out / "README.md").write_text("# Mine\n", "utf-8")
    again = call(capsys, "push", out, URL).out
    assert "cuvee card" not in again
    assert "README.md" in again
    found = call(capsys, "push", out, URL, "--json").json
    assert (found["done"], found["creates"], found["removes"]) == (False, True, [])
    assert {entry["name"]: entry["nbytes"] for entry in found["files"]} == {n: len(c) for n, c in files(out).items()}
    assert found["bytes"] == sum(map(len, files(out).values()))
    assert found["files"][-1]["sha256"] == cuvee.push(out, URL).files[-1].sha256
    assert {line[0] for line in bucket.trouble.lines} <= {"GET", "HEAD"}
    assert bucket.files() == {}


def test_a_push_brings_every_byte_and_the_record_last(bucket: Bucket, out: Path) -> None:
    told: list[tuple[int, int, str]] = []
    done = cuvee.push(out, URL, yes=True, progress=lambda *news: told.append(news))
    assert bucket.files("made/x") == files(out)
    order = puts(bucket)
    assert order == [file.name for file in done.files]
    assert order[-2:] == ["model.safetensors.index.json", "cuvee.json"]
    assert (done.done, told[-1]) == (True, (done.nbytes, done.nbytes, "cuvee.json"))
    assert [news[0] for news in told] == sorted(news[0] for news in told)
    assert cuvee.inspect(URL).tensors == 9


@pytest.mark.slow
def test_a_push_lives_with_a_store_that_stumbles(bucket: Bucket, out: Path) -> None:
    bucket.trouble.every, bucket.trouble.methods = 3, ("PUT",)
    cuvee.push(out, URL, yes=True)
    bucket.trouble.calm()
    assert bucket.files("made/x") == files(out)


def test_a_push_that_fails_leaves_nothing_that_looks_whole(bucket: Bucket, out: Path) -> None:
    def before(method: str, path: str) -> None:
        if method == "PUT" and "00002-of" in path:
            bucket.trouble.every, bucket.trouble.status = 1, 403

    bucket.trouble.before = before
    with pytest.raises(ResourceError, match="access is denied") as caught:
        cuvee.push(out, URL, yes=True)
    assert caught.value.code == "remote-denied"
    assert SECRET not in str(caught.value)
    bucket.trouble.calm()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        cuvee.inspect(URL)
    with pytest.raises(OutputExists):
        cuvee.push(out, URL, yes=True)
    cuvee.push(out, URL, yes=True, overwrite=True)
    assert bucket.files("made/x") == files(out)


def test_a_model_that_stands_there_is_replaced_only_when_asked(bucket: Bucket, out: Path, tmp_path: Path) -> None:
    bucket.put_folder(write(tmp_path / "other", decoder(5)), "made/x")
    bucket.put("made/x/notes.txt", b"keep me")
    with pytest.raises(OutputExists, match=r"model\.safetensors"):
        cuvee.push(out, URL, yes=True)
    seen: list[set[str]] = []
    bucket.trouble.before = lambda method, path: seen.append({method}) if method != "GET" else None
    done = cuvee.push(out, URL, yes=True, overwrite=True)
    bucket.trouble.calm()
    assert done.removes == ("model.safetensors",)
    kinds = [next(iter(kind)) for kind in seen if kind != {"HEAD"}]
    assert kinds[0] in {"DELETE", "POST"}  # before any file is sent
    assert bucket.files("made/x") == {**files(out), "notes.txt": b"keep me"}


def test_what_makes_an_earlier_model_look_whole_goes_before_its_parts_are_replaced(bucket: Bucket, out: Path) -> None:
    bucket.put_folder(out, "made/x")
    bucket.trouble.calm()

    def before(method: str, path: str) -> None:
        if method == "PUT":
            bucket.trouble.every, bucket.trouble.status = 1, 403

    bucket.trouble.before = before
    with pytest.raises(ResourceError):
        cuvee.push(out, URL, yes=True, overwrite=True)
    bucket.trouble.calm()
    assert files(out).keys() - bucket.files("made/x").keys() == {"cuvee.json", "model.safetensors.index.json"}


# --- what is not sent


def refused(out: Path, kind: type[cuvee.CuveeError], words: str, target: str = URL, **options: Any) -> None:
    with pytest.raises(kind, match=words) as caught:
        cuvee.push(out, target, yes=True, **options)
    assert all(fault.hint for fault in caught.value.faults if fault.code != "bad-argument")


@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00002.safetensors", "cuvee.json"])
def test_a_folder_that_does_not_verify_stays_here(bucket: Bucket, out: Path, name: str) -> None:
    file = next(path for path in sorted(out.iterdir()) if path.name.startswith(name[:11]))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    refused(out, CheckFailed, str(out))
    assert bucket.files() == {}


def test_a_folder_that_is_not_whole_or_not_ours_stays_here(bucket: Bucket, out: Path, models: Path) -> None:
    refused(models / "a", CheckFailed, r"no cuvee\.json")
    refused(models / "none", InputError, "no such folder")
    next(out.glob("model-00001*")).unlink()
    refused(out, CheckFailed, "readable")
    assert bucket.files() == {}


def test_a_folder_that_changes_on_the_way_gets_no_record(bucket: Bucket, out: Path) -> None:
    made = pushing.prepare(out, URL)
    os.utime(out / "config.json", (0, 0))
    with pytest.raises(InputError, match=r"config\.json has changed"):
        pushing.send(made)
    assert "cuvee.json" not in bucket.files("made/x")


def test_a_bucket_that_is_not_there(bucket: Bucket, out: Path) -> None:
    refused(out, ResourceError, "no-such-bucket", "s3://no-such-bucket/x")


@pytest.mark.parametrize("target", ["merged", "a/b/c", "../out", "https://host/x", "ftp://host/x", "s3://k:pw@b/x", ""])
def test_targets_that_are_none(out: Path, target: str) -> None:
    refused(out, UsageError, "target should", target)


def test_options_of_the_hub_mean_nothing_for_a_store(out: Path) -> None:
    with pytest.raises(UsageError) as caught:
        cuvee.push(out, URL, private=True, revision="v2", message="hello")
    assert [fault.subject for fault in caught.value.faults] == ["private", "revision", "message"]
    refused(out, UsageError, "text that is not empty", "me/x", message=" ")
    with pytest.raises(UsageError, match="`ORG/NAME`"):
        cuvee.push(out, Path("x"))  # type: ignore[arg-type]


# --- merges that end in a store


def recipe_file(models: Path) -> Path:
    (models / "recipe.yml").write_text(json.dumps(linear("a", "b")))
    return models / "recipe.yml"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary ones."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_an_output_in_a_bucket_is_that_of_a_folder(
    bucket: Bucket, models: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file(models)
    assert call(capsys, "merge", recipe, "-o", models / "here").code == 0
    ran = call(capsys, "merge", recipe, "-o", URL, "--json")
    assert ran.json["path"] == URL
    assert bucket.files("made/x") == files(models / "here")
    assert list(temporary.iterdir()) == []
    ran = call(capsys, "merge", recipe, "-o", URL)
    assert (ran.code, "--overwrite" in ran.err) == (7, True)
    assert "merging" not in ran.err  # told before anything is made
    assert call(capsys, "merge", recipe, "-o", URL, "--dry-run").code == 0
    assert cuvee.merge(recipe, URL, overwrite=True, staging=models / "kept").path == URL
    assert files(models / "kept") == files(models / "here")
    assert cuvee.merge(recipe, URL, overwrite=True, staging=models / "kept", seed=1).record["seed"] == 1


def test_going_on_needs_a_folder_that_is_kept(bucket: Bucket, models: Path) -> None:
    with pytest.raises(UsageError, match="`resume` should go with `staging`") as caught:
        cuvee.merge(recipe_file(models), URL, resume=True)
    assert caught.value.codes == ("bad-argument",)
    assert cuvee.merge(recipe_file(models), URL, resume=True, staging=models / "kept").path == URL


def test_an_upload_that_fails_keeps_the_result_and_says_how_to_go_on(
    bucket: Bucket, models: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.trouble.every, bucket.trouble.status, bucket.trouble.methods = 1, 403, ("PUT",)
    ran = call(capsys, "merge", recipe_file(models), "-o", URL)
    assert ran.code == ResourceError.exit_code
    words = ran.err.split("`")[1].split()
    assert words[:2] == ["cuvee", "push"]
    assert Path(words[2]).is_relative_to(temporary)
    bucket.trouble.calm()
    assert call(capsys, *words[1:]).code == 0
    assert bucket.files("made/x") == files(Path(words[2]))


def test_an_interrupt_while_sending_keeps_the_result(bucket: Bucket, models: Path, temporary: Path) -> None:
    def stop(done: int, total: int, name: str) -> None:
        if name.endswith(".safetensors"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"whole and kept in .*; go on with `cuvee push "):
        cuvee.merge(recipe_file(models), URL, sending=stop)
    (kept,) = temporary.glob("*/model")
    assert cuvee.verify(kept).ok
    assert "cuvee.json" not in bucket.files("made/x")


@pytest.mark.parametrize("error", [OSError(5, "disk gone"), RuntimeError("not ours")])
def test_any_error_while_sending_keeps_the_result(
    bucket: Bucket, models: Path, temporary: Path, error: Exception
) -> None:
    def fail(done: int, total: int, name: str) -> None:
        if name.endswith(".safetensors"):
            raise error

    with pytest.raises(ResourceError, match=r"disk gone|not ours") as caught:
        cuvee.merge(recipe_file(models), URL, sending=fail)
    assert "go on with `cuvee push " in str(caught.value.faults[0].hint)
    (kept,) = temporary.glob("*/model")
    assert cuvee.verify(kept).ok


def test_a_merge_that_fails_sends_nothing_and_leaves_nothing(bucket: Bucket, models: Path, temporary: Path) -> None:
    shutil.rmtree(models / "b")
    with pytest.raises(InputError):
        cuvee.merge(recipe_file(models), URL)
    assert bucket.files() == {}
    assert list(temporary.iterdir()) == []


# --- the hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with running({}) as made:
        yield made


def settings(hub: FakeHub, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",  # the hub of our own keeps large files the older way
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": "hf_never_to_be_told",
        "NO_PROXY": "127.0.0.1",
    }


PUSHES = """
import json, sys
import cuvee
out, script = sys.argv[1], json.loads(sys.argv[2])
said = []
for options in script:
    try:
        found = cuvee.push(out, options.pop("target", "me/merged"), **options)
        said.append([found.done, found.creates, list(found.removes)])
    except cuvee.CuveeError as error:
        said.append([type(error).__name__, error.code, str(error)])
print(json.dumps(said))
"""


def pushes(hub: FakeHub, out: Path, *script: dict[str, Any]) -> list[Any]:
    """What several pushes of one process say; huggingface_hub reads its settings when it is imported."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", PUSHES, str(out), json.dumps(script)],
        env={**os.environ, **settings(hub, out.parent / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bars of the library's own
    return json.loads(done.stdout)


def test_pushes_to_the_hub(hub: FakeHub, out: Path) -> None:
    looked, made, again, replaced, branch = pushes(
        hub,
        out,
        {},
        {"yes": True, "private": True, "message": "first"},
        {"yes": True},
        {"yes": True, "overwrite": True},
        {"yes": True, "target": "hf://me/merged", "revision": "v2", "overwrite": True},
    )
    assert (looked, made) == ([False, True, []], [True, True, []])
    assert again[:2] == ["OutputExists", "output-exists"]
    assert (replaced, branch) == ([True, False, []], [True, False, []])
    held = hub.models["me/merged"]
    assert (held.private, {k: v for k, v in held.files.items() if k != ".gitattributes"}) == (True, files(out))
    assert [(c["summary"], c["revision"]) for c in hub.commits] == [
        ("first", "main"),
        ("Upload merged", "main"),
        ("Upload merged", "v2"),
    ]


@pytest.mark.slow
def test_an_earlier_model_on_the_hub_goes_with_the_commit_and_refusals_are_told(hub: FakeHub, out: Path) -> None:
    hub.models["me/merged"] = hub.blank(private=False)
    hub.models["me/merged"].files = {"pytorch_model.bin": b"old", "README.md": b"mine"}
    found, public, locked = pushes(
        hub,
        out,
        {"yes": True, "overwrite": True},
        {"private": True, "overwrite": True},
        {"yes": True, "target": "locked/merged"},
    )
    assert found == [True, False, ["pytorch_model.bin"]]
    assert hub.models["me/merged"].files == {"README.md": b"mine", **files(out)}
    assert public[:2] == ["UsageError", "bad-argument"]
    assert locked[:2] == ["ResourceError", "remote-denied"]
    assert "hf_never" not in locked[2]
    assert len(hub.commits) == 1


@pytest.mark.slow
def test_the_command_pushes_to_the_hub(hub: FakeHub, out: Path) -> None:
    ran = spawn("push", out, "me/merged", "--yes", environ=settings(hub, out.parent / "home"))
    assert (ran.code, hub.commits[0]["summary"]) == (0, "Upload merged")
    assert "sent to me/merged: 8 files" in ran.out
    assert "sending: done" in ran.err
