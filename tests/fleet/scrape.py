"""Looks at a process through its metrics port, as Prometheus and Kubernetes do."""

import json
import urllib.error
import urllib.request

from ports import free_port
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """The samples of one moment."""

    def __init__(self, text):
        self.families = list(text_string_to_metric_families(text))
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def names(self):
        return {name for name, _ in self.samples}

    def value(self, name, **labels):
        """Return one sample; None where there is none."""
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def of(self, name):
        """Return the samples of a name, by the value of their one label."""
        return {labels[0][1]: value for (known, labels), value in self.samples.items() if known == name and labels}

    def total(self, name):
        return sum(value for (known, _), value in self.samples.items() if known == name)


class Port:
    """The metrics port of one process."""

    def __init__(self):
        self.number = free_port()
        self.options = ("--metrics-port", self.number)

    def get(self, path):
        """Return the status and the body; (0, None) where nobody listens yet, or any more."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.number}{path}", timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError:
            return 0, None

    def scrape(self):
        status, body = self.get("/metrics")
        return Scrape(body if status == 200 else "")

    def is_well(self):
        return self.get("/healthz")[0] == 200

    def readiness(self):
        """Return the status and what is said."""
        status, body = self.get("/readyz")
        return status, json.loads(body) if body else {}

    def is_ready(self):
        return self.readiness()[0] == 200
