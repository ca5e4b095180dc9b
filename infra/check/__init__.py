"""Checks of the deployment with tools from npm."""
