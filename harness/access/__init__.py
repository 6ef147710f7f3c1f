"""What a sweep says of its access methods, made definite: every default filled in, whose quota each draws on, who pays, which servers run.

access   a method with its defaults, by the table of providers     keys     from the environment or a .env file
doors    which methods share a gate, and its limits                budgets  who pays from which budget
servers  model servers on this machine                             queues   what they tell of their load, on its way to the gates"""
