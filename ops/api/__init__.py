"""The HTTP API: one file a resource. Handlers are few lines; what they do is in ops/jobs and db."""
