"""Records, statistics, published tables, leaderboards, the gate; the HTML page is `report`."""
