"""What the hub of one's own says to those who write to it: the addresses that the hub's client asks on the way."""

from __future__ import annotations

import base64
import json
from typing import Any


def answer(hub: Any, parts: list[str], body: bytes) -> dict[str, Any]:
    """The answer to a request that changes something."""
    if parts == ["api", "repos", "create"]:
        return _create(hub, json.loads(body))
    if parts[-3:] == ["lfs", "objects", "batch"]:
        return {"transfer": "basic", "objects": [_place(hub, entry) for entry in json.loads(body)["objects"]]}
    name, verb, revision = "/".join(parts[2:4]), parts[4], parts[5]
    if verb == "branch":
        hub.models[f"{name}@{revision}"] = type(hub.models[name])({}, "2" * 40, (revision,))
        return {}
    if verb == "preupload":
        return {"files": [_mode(entry["path"]) for entry in json.loads(body)["files"]]}
    return _commit(hub, name, revision, [json.loads(line) for line in body.splitlines()])


def _create(hub: Any, asked: dict[str, Any]) -> dict[str, Any]:
    name = f"{asked['organization']}/{asked['name']}"
    if name not in hub.models:
        hub.models[name] = hub.blank(private=asked.get("private") or asked.get("visibility") == "private")
    return {"url": f"{hub.url}/{name}"}


def _place(hub: Any, entry: dict[str, Any]) -> dict[str, Any]:
    where = {"upload": {"href": f"{hub.url}/large/{entry['oid']}", "header": {}}}
    return {"oid": entry["oid"], "size": entry["size"], "actions": where}


def _mode(path: str) -> dict[str, Any]:
    return {
        "path": path,
        "uploadMode": "lfs" if path.endswith(".safetensors") else "regular",
        "shouldIgnore": False,
    }


def _commit(hub: Any, name: str, revision: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Carry out a commit; a large file that was not sent first fails with a KeyError, and the request with it."""
    key = f"{name}@{revision}" if f"{name}@{revision}" in hub.models else name
    files = dict(hub.models[key].files)
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.large[value["oid"]]
        elif line["key"] == "deletedFile":
            del files[value["path"]]
        else:
            hub.commits.append({"repository": name, "revision": revision, **value})
    hub.models[key].files = files
    commit = hub.models[key].commit
    return {"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit}
