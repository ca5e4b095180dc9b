"""What the functions share; the folders are its layers, and imports go downwards only.

app                                     puts the parts together
metadata_updates, training_watches      what becomes of an update, what becomes of a watch
new_completions                         when a completion is new
services                                talks to the outside, decides nothing
batching                                many callers, few calls
limits                                  when a call may go
messages                                what goes through queues
settings, errors, text                  used by all
"""
