"""⑨ The bridge: publishes results on the documented channels, and the fleet's heartbeat, session and health."""
