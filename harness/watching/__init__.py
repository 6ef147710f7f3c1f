"""Watches access methods by one-token calls: a panel of prompts that is asked again every day.

watch_sweep   wires the room: finds panels, plays a day of them into a store
candidates    the prompts that a panel is chosen from
search        finds the prompts of one method whose answers flip, or nearly do
panel         the panel of a method, how its prompts are chosen, and the file that keeps it"""
