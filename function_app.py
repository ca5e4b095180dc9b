"""The entry point: the Functions host finds the app's two functions here."""

from functions.start import starting

with starting():
    import azure.functions as func

    from functions import poll_training_status, update_image_metadata
    from shared.app import App
    from shared.settings import Settings
    from shared.telemetry_export import new_telemetry

    settings = Settings.load()
    relay = App(settings, new_telemetry(settings))

    app = func.FunctionApp()
    app.register_functions(update_image_metadata.blueprint(relay.metadata_updates))
    app.register_functions(poll_training_status.blueprint(relay.training_watches, relay.replenish_permits))
