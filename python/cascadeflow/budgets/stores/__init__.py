"""Where budgets are kept beyond the process."""
