"""Run many merges with mergekit in one process, whose imports take longer than the merges.

    PEER_PYTHON driver.py JOBS ANSWERS

JOBS is a JSON list of `{"name", "recipe", "out", "seed", "options"}`, the recipe being mergekit's own mapping. ANSWERS
becomes a JSON object: name → `null` for a merge that was written, else the error as text.
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
from mergekit.options import MergeOptions  # noqa: E402


def run(job):
    """Carry out one job; returns the error, if any."""
    given = {"copy_tokenizer": False, "write_model_card": False, "quiet": True, "random_seed": job["seed"]}
    try:
        options = MergeOptions(**given | job["options"])
        run_merge(MergeConfiguration.model_validate(job["recipe"]), out_path=job["out"], options=options)
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
