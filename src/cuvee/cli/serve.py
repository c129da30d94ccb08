"""`cuvee serve`: an ensemble as a service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common, Whole
from cuvee.cli.words import counted
from cuvee.errors import Fault, InputError, UsageError

_AtLeastOne = Parameter(validator=Number(gte=1))


def serve(
    folder: str,
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[Whole, Parameter(validator=Number(gte=0, lte=65535))] = 8000,
    token_file: Path | None = None,
    members_from: Path | None = None,
    trust: Annotated[list[str] | None, Parameter(negative=())] = None,
    max_rows: Annotated[Whole, _AtLeastOne] = 1000,
    max_bytes: Annotated[Whole, _AtLeastOne] = 4 << 20,
    at_once: Annotated[Whole, _AtLeastOne] = 256,
    threads: Annotated[Whole, _AtLeastOne] = 4,
    common: Common = COMMON,
) -> int:
    """Serve a saved ensemble: JSON over HTTP, members that come and go while it answers.

    Paths: POST /predict and /explain; GET, POST and DELETE /members; GET
    /health, /ready and /metrics. Members can be changed only by who bears the
    token of --token-file. The end is asked for with SIGTERM or Ctrl-C; answers
    under way are finished.

    For example:

        cuvee serve ensemble
        cuvee serve ensemble --port 0 --token-file token --members-from members

    Args:
        folder: A saved ensemble.
        host: The address to listen at; 0.0.0.0 takes requests from anywhere.
        port: The port; 0 for any that is free.
        token_file: A file with the token that changes of members need; without it there are none.
        members_from: The folder below which members that are added lie, as saved ensembles.
        trust: Types, functions or members that may run; see docs/ensembles.md.
        max_rows: Most rows of a request.
        max_bytes: Most bytes of a request.
        at_once: Requests answered or waiting at a time; one more is turned away.
        threads: Predictions that run at a time.
        common: How to print.
    """
    from cuvee.predict import Ensemble
    from cuvee.serving import Limits, Service, make_application
    from cuvee.serving.running import run

    token = None if token_file is None else _token(token_file)
    if members_from is not None and not members_from.is_dir():
        message = f"--members-from must be a folder; {members_from} is none"
        raise UsageError(Fault("bad-argument", message, subject="members_from"))
    limits = Limits(max_rows=max_rows, max_bytes=max_bytes, at_once=at_once, threads=threads)
    ensemble = Ensemble.load(folder, trust=trust or ())
    service = Service(ensemble, limits, token, members_from, tuple(trust or ()))

    def began(address: str) -> None:
        names = [member.name for member in ensemble.members]
        data = {"address": address, "version": ensemble.state.number, "members": names}
        text = [f"serving {counted(len(names), 'member')} at {address}", "end it with Ctrl-C"]
        deliver(Answer("serve", data, text, ensemble.state.notes), common)
        sys.stdout.flush()

    run(make_application(service), host, port, began)
    return 0


def _token(path: Path) -> str:
    """The token of a file: its text without the blanks around it.

    Raises:
        InputError: it cannot be read, or is none.
    """
    from cuvee.serving.wire import token_faults

    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Fault("data-missing", f"the token cannot be read from {path}: {error}")) from error
    if wrong := token_faults(token, str(path)):
        raise InputError(wrong)
    return token
