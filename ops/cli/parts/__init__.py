"""What several commands share: options, selections, rows as text."""
