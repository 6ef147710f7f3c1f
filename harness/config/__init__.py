"""Where text becomes typed data: a sweep file in, a frozen SweepSpec and its episode plans out. Imports core only."""
