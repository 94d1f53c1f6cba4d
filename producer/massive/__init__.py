"""The vendor's live feed and its REST calls."""
