"""Task packs: one delta for several tasks, and one bit per entry and task that says which of it the task keeps."""

from __future__ import annotations

from cuvee.packs.look import PackFacts, TaskFacts, look
from cuvee.packs.making import Packed, make_pack
from cuvee.packs.marks import Masks
from cuvee.packs.switch import TaskSwitch

__all__ = ["Masks", "PackFacts", "Packed", "TaskFacts", "TaskSwitch", "look", "make_pack"]
