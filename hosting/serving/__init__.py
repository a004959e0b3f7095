"""What every network door needs to be a well-behaved set of processes.

Addresses to listen on, TLS contexts, connections and the door that counts them, worker processes, seats
counted across them, the PROXY protocol and the pool of threads in which the store's verbs run. Nothing here
knows a door of ours, a record or a Django setting: values are passed in.
"""
