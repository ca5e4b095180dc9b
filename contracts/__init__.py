"""What producers and consumers can rely on: JSON Schema of all that goes through queues, and an AsyncAPI document."""
