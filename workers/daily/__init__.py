"""The daily half: runs, their steps, who deals them and who does them."""
