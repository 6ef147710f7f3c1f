"""Plans a sweep before anything is spent: hours, calls, tokens, dollars, and what its audit can prove.

plan_sweep       wires the room to a sweep and to stores; returns the plan
calibrate        plays a minute of every method, for measured speeds and lengths
measurements     lengths and speeds that stores and trials measured
workload         the episodes of each method: turns, tokens, cost
episode_lengths  how long episodes are, from bots and from stores
provider_model   how each gate's provider behaves
latency_fit      how quick a server was, from a store's calls
library_notes    tells what a plan cannot know of games of other libraries
simulate         plays episodes over simulated providers in virtual time
extrapolate      short simulated sweeps -> the time of the whole sweep
power            what the sweep's audit can prove, and what that costs
results          the plan as frozen values"""
