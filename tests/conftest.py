"""What holds for every test."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

# What the machine that runs the tests wishes for itself must not reach the commands under test.
for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)

# Tests run side by side, and their tensors are small: threads of torch's own would only wait for each other, at the
# price of four times the processor time. Before torch is loaded, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A test run that was started in the background ignores interrupts, and so would everything it starts: the tests of
# Ctrl-C would wait for ever.
with suppress(ValueError):  # not the main thread: then nothing was ignored by a shell either
    signal.signal(signal.SIGINT, signal.default_int_handler)
