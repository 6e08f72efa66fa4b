"""What would run and what it costs, what is installed, and where the seconds go."""
