"""What the functions share. Imports go downwards only, in this order:

app                                     builds all parts from the settings
metadata_updates, training_watches      what becomes of an update; what becomes of a watch
new_completions                         when a completed training is new to a watch
services                                calls storage and the APIs; decides nothing
batching                                packs the images of many messages into few calls
limits                                  when a call may be made
messages                                what is read from and written to queues
settings                                the app settings
errors, text, telemetry, redaction      used by all
"""
