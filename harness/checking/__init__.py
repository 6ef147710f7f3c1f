"""Access methods looked at before anything is spent on them: the look itself, and the rows that it leaves for an audit."""
