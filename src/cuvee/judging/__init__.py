"""The judge: tasks, what models answer on them, and what the answers are worth.

tasks           what is asked: a small YAML and its data, or a function
asking          models asked, kind by kind
answering       what a model answers on a task
functions       tasks that are functions of the user's own
answers         what a model answered, by rows
metrics         scores of answers
soundness       whether answers are what they should be
saved           files of answers
resampling      rows drawn again with replacement
bootstrap       by how much one model is better than another, and whether that is more than noise
comparing       every model on every task, against the best parent (lined_up, by_group, standings)
scoring         scores of tasks, and of models in memory for whoever searches
caching         answers kept by what they depend on
lm_evaluation   tasks of lm-eval
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cuvee.judging.scoring import scorer
    from cuvee.judging.tasks import Task, read_task

_HOME: Final = {
    "Task": "tasks",
    "read_task": "tasks",
    "scorer": "scoring",
}

__all__ = ["Task", "read_task", "scorer"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"cuvee.judging.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
