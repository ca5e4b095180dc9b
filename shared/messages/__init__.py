"""What goes through queues: the two input messages, dead letters, events, and how they are read and written."""
