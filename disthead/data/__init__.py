"""Tables become features: what a column holds (`values`), and how it becomes numbers (`encoder`), for all who read tables."""
