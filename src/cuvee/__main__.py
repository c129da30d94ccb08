"""`python -m cuvee`: the same as the command `cuvee`."""

from __future__ import annotations

import sys

from cuvee.cli import main

if __name__ == "__main__":
    sys.exit(main())
