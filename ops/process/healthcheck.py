"""`python -m tickstockpl.ops.process.healthcheck`: exit 0 while the process of this container says that it is well.

Only the standard library: it runs every few seconds beside the process.
"""

import os
import sys
import urllib.request

_WITHIN_S = 20.0  # less than an engine gives the whole check: a busy machine makes both slow


def main() -> None:
    """Ask /healthz of the port in TICKSTOCK_METRICS_PORT."""
    port = os.environ.get("TICKSTOCK_METRICS_PORT", "0")
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says: it is ourselves
    try:
        with directly.open(f"http://127.0.0.1:{port}/healthz", timeout=_WITHIN_S):
            pass
    except (OSError, ValueError) as e:  # refused, no answer, 503; a port that is none
        sys.exit(f"not well: {e}")


if __name__ == "__main__":
    main()
