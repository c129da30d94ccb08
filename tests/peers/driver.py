"""Run many merges with mergekit in one process, whose imports take longer than the merges.

    PEER_PYTHON driver.py JOBS ANSWERS

JOBS is a JSON list of `{"name", "recipe", "out", "seed", "options"}`, the recipe being mergekit's own mapping, and of
`{"name", "method", "inputs", "base", "settings", "out", "seed"}`: single tensors, which lie in the file `inputs` as
`0`, `1`, …, to be merged in memory. ANSWERS becomes a JSON object: name → `null` for a merge that was written, else
the error as text.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import torch  # noqa: E402
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.merge import run_merge  # noqa: E402
from mergekit.merge_methods.api import merge_tensors  # noqa: E402
from mergekit.options import MergeOptions  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402


def merge_models(job):
    """Whole models, by a recipe."""
    given = {"copy_tokenizer": False, "write_model_card": False, "quiet": True, "random_seed": job["seed"]}
    options = MergeOptions(**given | job["options"])
    run_merge(MergeConfiguration.model_validate(job["recipe"]), out_path=job["out"], options=options)


def merge_in_memory(job):
    """Single tensors, by a method's name."""
    inputs = load_file(job["inputs"])
    stack = [inputs[str(i)] for i in range(len(inputs))]
    torch.manual_seed(job["seed"])
    merged = merge_tensors(stack, job["method"], parameters=job["settings"], base_index=job["base"])
    save_file({"merged": merged.contiguous()}, job["out"])


def run(job):
    """Carry out one job; returns the error, if any."""
    try:
        (merge_in_memory if "inputs" in job else merge_models)(job)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main():
    """Carry out all jobs, in order."""
    torch.set_num_threads(1)
    jobs = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    answers = {job["name"]: run(job) for job in jobs}
    Path(sys.argv[2]).write_text(json.dumps(answers), "utf-8")


if __name__ == "__main__":
    main()
