"""How the fleet is run and watched."""
