"""The vendor's live feed and its REST calls. `../rest_client.py` sends the calls, and repeats failed ones."""
