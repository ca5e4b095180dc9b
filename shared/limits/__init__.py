"""When a call may go: the API's rate, and whether the service can be called at all. Knows no service."""
