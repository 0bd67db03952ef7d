"""Runs commands of python-cloudkittyclient, as its own program would, in one process: starting Python for each takes seconds.

Each line of standard input is a JSON list of arguments; each line of standard output is a JSON object with the exit status and
what the command wrote.
"""
import contextlib
import io
import json
import sys

from cloudkittyclient import shell

for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = shell.main(json.loads(line))
            if status is not None and not isinstance(status, int):  # as sys.exit has it
                print(status, file=sys.stderr)
                status = 1
        except SystemExit as e:
            status = e.code or 0
        except Exception as e:  # the program itself would end with a traceback
            status = 70
            print(repr(e), file=sys.stderr)
    print(json.dumps({"status": status, "out": out.getvalue(), "err": err.getvalue()}), flush=True)
