"""What each process needs: its stop, its log, its metrics, its progress."""
