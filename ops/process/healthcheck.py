"""`python -m tickstockpl.ops.process.healthcheck`: exit 0 while this container's process is healthy.

It uses only the standard library, because it is started every few seconds.
"""

import os
import sys
import urllib.request

_WITHIN_S = 20.0  # less than an engine allows for the whole check: a busy machine makes both slow


def main() -> None:
    """Request /healthz on the port in TICKSTOCK_METRICS_PORT."""
    port = os.environ.get("TICKSTOCK_METRICS_PORT", "0")
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # ignore http_proxy: the process is local
    try:
        with directly.open(f"http://127.0.0.1:{port}/healthz", timeout=_WITHIN_S):
            pass
    except (OSError, ValueError) as e:  # refused, no answer, 503; or an invalid port
        sys.exit(f"not healthy: {e}")


if __name__ == "__main__":
    main()
