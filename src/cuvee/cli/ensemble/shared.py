"""Options that several words of `cuvee ensemble` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Data = Annotated[Path, Parameter(name="--data")]
Trust = Annotated[list[str] | None, Parameter(name="--trust", consume_multiple=True, negative=())]
Label = Annotated[str | None, Parameter(name="--label")]
Id = Annotated[str | None, Parameter(name="--id")]
