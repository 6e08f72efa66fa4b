"""Records, predictions, statistics, published tables, leaderboards, findings, the gate."""
