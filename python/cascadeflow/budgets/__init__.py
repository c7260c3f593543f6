"""What was spent, by whom, and how near a limit that is."""
