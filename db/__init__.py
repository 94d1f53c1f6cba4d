"""PostgreSQL and Redis: connections, statements, scripts, metrics. No bar logic."""
