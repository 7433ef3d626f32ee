"""From tables to tensors: reading, encoding, splitting and batching of rows."""
