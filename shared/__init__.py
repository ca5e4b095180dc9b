"""What the functions share. Imports go downwards only, in this order:

app, telemetry_export                   builds all parts from the settings; says where telemetry is sent
metadata_updates, training_watches,     what becomes of an update; what becomes of a watch;
permit_replenishment,                   how many permits there are;
old_message_warning                     which messages have waited long
watch_decisions                         when a completed training is new to a watch, and when a watch ends
services                                calls storage and the APIs, and says what each response means
batching                                packs the images of many messages into few calls
limits                                  when a call may be made
messages                                what is read from and written to queues
settings, setting_types, schedule,      the app settings, what each may be,
clouds                                  and what differs between Azure's clouds
errors, text, telemetry                 used by all
redaction, installed_python             keeps secrets out of texts; whether the packages fit the Python
"""
