"""Ensembles as folders: JSON, safetensors and one safe file per member, all checked on loading.

ensemble.json        what it is: members, combiner, versions, history, and the hash of every other file
arrays.safetensors   what the combiner found, the bank it was fitted on, the golden rows
members/NAME/…       model.skops · model.onnx · a Hugging Face folder · recipe.yml · another ensemble
"""

from cuvee.predict.saving import nested  # noqa: F401 - registers its keeper, which knows how to read and to write
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, Trust
from cuvee.predict.saving.reading import load
from cuvee.predict.saving.writing import Saved, check_place, save

__all__ = ["KEEPERS", "Keeper", "Kept", "Saved", "Stored", "Trust", "check_place", "load", "save"]
