"""What the functions share; the folders are its layers, and imports go downwards only.

app                                     puts the parts together
metadata_updates, training_watches      what becomes of an update, what becomes of a watch
training_news                           which end of a training is news
services                                talks to the outside, decides nothing
batching                                many callers, few calls
limits                                  when a call may go
messages                                what goes through queues
settings, errors, text                  used by all
"""
