"""Tasks: what is asked of models, read from a small YAML and its data before any model is loaded.

model       a task as frozen data
schema      what the YAML of each kind may say
structure   the YAML read strictly, everything that is wrong at once
values      what the columns of the data may hold
rows        rows found by split, drawn by seed, checked
pictures    folders of pictures
reading     a task of a file, or of a function's name
"""

from __future__ import annotations

from cuvee.judging.tasks.model import Task, TaskRow
from cuvee.judging.tasks.reading import read_task

__all__ = ["Task", "TaskRow", "read_task"]
