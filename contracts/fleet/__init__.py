"""The state of the fleet at one moment, and the rules that judge it. Pure."""
