"""Read-only looks at both servers: the state of the fleet, and its problems."""
