"""The verb `rescore`: the weights of one access method score the stored replies of all methods of its model.

item_sample.py    draws items, where not all replies are scored
conversations.py  replies -> groups that one request can score
scores.py         a reply's scored tokens -> its row
rescore_store.py  wires it: the store, the engine of the reference, the requests, the rows"""
