"""An ensemble as a YAML file: what it predicts, which members it has, and how they are combined.

schema      what may stand in the file
reading     the file read strictly: everything that is wrong at once, with line and column
estimators  members that are declared by name and trained here
table       the data as columns: labels, ids, numbers and texts
building    members made, cross-fitted or asked about rows held out, and the combiner fitted
"""

from cuvee.predict.config.reading import read_config, read_member
from cuvee.predict.config.schema import EnsembleConfig, json_schema

__all__ = ["EnsembleConfig", "json_schema", "read_config", "read_member"]
