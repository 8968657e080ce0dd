"""`python -m hub.platform.remote.far`: the same as `hub adapter run`, without the command line's dependencies."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hub.platform.remote.far.program import Options, run


def main() -> int:
    """Read the arguments and run; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hub.platform.remote.far", description="Run an adapter beside its department."
    )
    parser.add_argument("name", help="Name of the adapter instance.")
    parser.add_argument("--creds", type=Path, help="Credentials file from `hub adapter creds issue`.")
    parser.add_argument("--settings", type=Path, help="YAML file of the form of config/adapters.yaml.")
    parser.add_argument("--plugin", help="Plugin, when the settings file does not name it.")
    parser.add_argument("--data", type=Path, default=Path("adapter-data"), help="Directory of the journal.")
    parser.add_argument("--callback-host", default="127.0.0.1", help="Address to listen on for callbacks.")
    parser.add_argument("--callback-port", type=int, help="Port to listen on for callbacks; 0: a free one.")
    parser.add_argument("--callback-url", default="", help="How the department reaches that port.")
    parser.add_argument("--stdin", action="store_true", help="Credentials and settings come on stdin (the hub's workers).")
    parser.add_argument("--log-level", default="info")
    given = parser.parse_args()
    return run(
        Options(
            name=given.name,
            credentials=given.creds,
            settings=given.settings,
            plugin=given.plugin,
            data=given.data,
            callback_host=given.callback_host,
            callback_port=given.callback_port,
            callback_url=given.callback_url,
            from_stdin=given.stdin,
            log_level=given.log_level,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
