"""The cloud as an app without any key meets it: Azure's names, TLS with a certificate authority, and a proxy."""
