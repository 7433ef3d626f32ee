"""The log-likelihood of raw outputs with its derivatives, in one pass from raw outputs and targets."""
