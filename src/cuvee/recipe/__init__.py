"""What is asked: the recipe as frozen data, strict parsing with places, mergekit's dialect, values per layer.

    parse_file, parse_text, from_data     a recipe, or one error with everything that is wrong
    Recipe, ModelEntry, Slice, …          the data
    groups                                which models become one output, and the parameters that hold there
    resolve                               a parameter's value for one tensor: filters, gradients, levels
    not_yet, notes                        what is understood and not carried out; what has no effect
    to_data, to_yaml, canonical           the way back

No torch; ruamel.yaml and pydantic are loaded by the first recipe that needs them.
"""

from cuvee.recipe.dialect import not_yet
from cuvee.recipe.editor_schema import json_schema
from cuvee.recipe.grouping import Group, Level, Member, groups, references
from cuvee.recipe.model import (
    Branch,
    Conditions,
    DocumentPath,
    Gradient,
    Locate,
    ModelEntry,
    Module,
    Parameters,
    Recipe,
    Setting,
    Slice,
    Source,
)
from cuvee.recipe.parse import faults, from_data, notes, parse_file, parse_text
from cuvee.recipe.reading import Methods
from cuvee.recipe.reference import read_reference, written_reference
from cuvee.recipe.values import interpolate, layer_position, matching, resolve
from cuvee.recipe.write import canonical, recipe_hash, to_data, to_yaml

__all__ = [
    "Branch",
    "Conditions",
    "DocumentPath",
    "Gradient",
    "Group",
    "Level",
    "Locate",
    "Member",
    "Methods",
    "ModelEntry",
    "Module",
    "Parameters",
    "Recipe",
    "Setting",
    "Slice",
    "Source",
    "canonical",
    "faults",
    "from_data",
    "groups",
    "interpolate",
    "json_schema",
    "layer_position",
    "matching",
    "not_yet",
    "notes",
    "parse_file",
    "parse_text",
    "read_reference",
    "recipe_hash",
    "references",
    "resolve",
    "to_data",
    "to_yaml",
    "written_reference",
]
