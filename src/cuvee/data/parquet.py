"""The one place that knows pyarrow: Parquet files as rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cuvee.errors import Fault, InputError, UsageError


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """All rows of a file, as Python values.

    Raises:
        UsageError: pyarrow is not installed.
        InputError: `data-missing` or `bad-data`.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        message = f"pyarrow is needed to read {path.name}, and is not installed"
        hint = 'pip install "cuvee[judge]", or store the data as JSON lines or CSV'
        raise UsageError(Fault("missing-extra", message, subject="pyarrow", hint=hint)) from error
    try:
        # one thread: a pool of them would outlive the call, and a fork of this process would wait for it for ever
        table = pyarrow.parquet.read_table(str(path), use_threads=False)
        rows: list[dict[str, Any]] = table.to_pylist()
    except OSError as error:
        code = "data-missing" if not path.is_file() else "bad-data"
        message = f"data should be a Parquet file at {path}; {' '.join(str(error).split())[:300]}"
        raise InputError(Fault(code, message, subject=str(path), hint="check the path")) from error
    except pyarrow.ArrowException as error:
        message = f"{path} should be a Parquet file; {' '.join(str(error).split())[:300]}"
        raise InputError(Fault("bad-data", message, subject=str(path))) from error
    return rows
