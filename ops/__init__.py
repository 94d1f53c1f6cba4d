"""How it is run and watched."""
