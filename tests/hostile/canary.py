"""A process that stands for the server: it holds secrets in its environment, its memory and a deleted file.

Prints where its secret lies, then waits for the end of its stdin. Nothing that it holds may be read or changed
by a run.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile

buffer = ctypes.create_string_buffer(os.environ["CANARY_SECRET"].encode(), 64)
with tempfile.TemporaryFile(dir=sys.argv[1]) as file:
    file.write(os.environ["CANARY_SECRET"].encode())
    file.flush()
    print(json.dumps({"address": ctypes.addressof(buffer), "fd": file.fileno()}), flush=True)
    sys.stdin.read()
