"""What the commands write for people: text, files and pictures."""
