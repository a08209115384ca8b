"""The process of ``vicc-ray``: its streams and signals come first, before anything is imported that takes long."""

from __future__ import annotations

import errno
import sys

from vicc_ray.utils.child_processes import kill_descendants
from vicc_ray.utils.home import ensure_home
from vicc_ray.utils.interruption import Interruption, tell
from vicc_ray.utils.standard_streams import Output


def main() -> int:
    """Run the command of the command line; its exit code, or 130 and 143 after SIGINT and SIGTERM."""
    output, interruption = Output(), Interruption(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        interruption.listen()
        ensure_home()
        code = _run_command()
    except BaseException:
        # Not KeyboardInterrupt alone: code that a signal breaks off may raise an error of its own.
        if not interruption.heard():
            raise
    interruption.ignore_signals()
    lost = output.finish()
    if interruption.heard():
        kill_descendants()
        interruption.print_stopped()
        return interruption.exit_code
    if lost and lost.errno != errno.EPIPE:  # a reader that has gone, as in `vicc-ray config demo | head`, knows
        tell(f"error: standard output: {lost.strerror}; the work is done, but what it printed is lost")
    return code or int(lost is not None)


def _run_command() -> int:
    from vicc_ray.cli.main import main as run

    try:
        return run()
    except SystemExit as end:  # of argparse, whose output is still to be written
        return int(end.code or 0)


if __name__ == "__main__":
    sys.exit(main())
