"""A file of images and the metadata that each is to have: CSV with a header, or JSON Lines."""
