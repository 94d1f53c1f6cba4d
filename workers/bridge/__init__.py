"""⑨ The bridge: results to the documented channels, and the fleet's one voice (heartbeat, session, health)."""
