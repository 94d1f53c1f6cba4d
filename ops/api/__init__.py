"""The HTTP API: one file per resource. Handlers are a few lines; the work is done in ops/jobs and db."""
