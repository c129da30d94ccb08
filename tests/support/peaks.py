"""How much memory a process takes that is not file cache, and models to take some."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.support.command_line import command, environment

MIB = 1 << 20
_ANONYMOUS = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)


def peak_of(*words: object, environ: Mapping[str, str] | None = None) -> int:
    """Run a command in a process of its own, which must succeed; the most anonymous memory it took, in bytes."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command(*words), stdout=said, stderr=said, env=environment(**(environ or {})))
        peak = _watch(process)
        said.seek(0)
        assert process.returncode == 0, said.read().decode(errors="replace")[-2000:]
    return peak


def _watch(process: subprocess.Popen[bytes]) -> int:
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        found = _ANONYMOUS.search(status.read_text())
        peak = max(peak, int(found[1]) * 1024 if found else 0)
        time.sleep(0.004)
    return peak


def write_tunes(folder: Path, shapes: Mapping[str, Sequence[int]], dtype: torch.dtype, count: int = 3) -> list[Path]:
    """A base, the first one, and fine-tunes of it: files of random numbers, with a spread that differs by tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    base = {name: torch.randn(tuple(shape), generator=generator) * 0.02 for name, shape in shapes.items()}
    files = []
    for number in range(count + 1):
        tensors = {name: _moved(values, number, generator).to(dtype) for name, values in base.items()}
        files.append(folder / f"model-{number}.safetensors")
        save_file(tensors, files[-1])
    return files


def _moved(values: Tensor, number: int, generator: torch.Generator) -> Tensor:
    return values + torch.randn(values.shape, generator=generator) * 0.002 * number


def write_recipe(at: Path, method: str, files: Sequence[Path]) -> Path:
    """A recipe of any method over such files; JSON is YAML."""
    base, *tunes = map(str, files)
    models = [base, tunes[0]] if method == "slerp" else tunes
    each = {} if method == "slerp" else {"weight": 0.4}
    each |= {"density": 0.5} if "ties" in method or "dare" in method else {}
    data: dict[str, object] = {"merge_method": method, "models": [{"model": m, "parameters": each} for m in models]}
    data |= {} if method == "linear" else {"base_model": base}
    data |= {"parameters": {"t": 0.3}} if method == "slerp" else {}
    at.write_text(json.dumps(data), "utf-8")
    return at
