"""What is seen of a sweep while it runs: rows counted as they pass, how late the loop is, and the live views of both."""
