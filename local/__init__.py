"""The cloud on one machine. It shares no code with the app, so that it cannot repeat the app's mistakes."""
