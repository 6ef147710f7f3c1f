"""Results that others published, brought into a store: readers of their files, rows made of what they found, and the import."""
