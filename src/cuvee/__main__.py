"""`python -m cuvee`: the same as the command `cuvee`."""

from __future__ import annotations

from cuvee.cli import program

if __name__ == "__main__":
    program()
