"""Entry point of ``vicc-ray``. Streams and signal handlers are set up before any slow import."""

from __future__ import annotations

import errno
import sys

from vicc_ray.utils.child_processes import kill_descendants
from vicc_ray.utils.home import ensure_home
from vicc_ray.utils.interruption import Interruption, write_stderr
from vicc_ray.utils.standard_streams import Output


def main() -> int:
    """Run the command line and return its exit code: 130 after SIGINT, 143 after SIGTERM."""
    output, interruption = Output(), Interruption(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        interruption.listen()
        ensure_home()
        code = _run_command()
    except BaseException:
        # Any exception, not KeyboardInterrupt alone: interrupted code may raise its own.
        if not interruption.heard():
            raise
    interruption.ignore_signals()
    lost = output.finish()
    if interruption.heard():
        kill_descendants()
        interruption.print_stopped()
        return interruption.exit_code
    if lost and lost.errno != errno.EPIPE:  # EPIPE is expected, as in `vicc-ray config demo | head`
        write_stderr(f"error: standard output: {lost.strerror}; the work is done, but its output is lost")
    return code or int(lost is not None)


def _run_command() -> int:
    from vicc_ray.cli.main import main as run

    try:
        return run()
    except SystemExit as end:  # from argparse; its output is flushed later
        return int(end.code or 0)


if __name__ == "__main__":
    sys.exit(main())
