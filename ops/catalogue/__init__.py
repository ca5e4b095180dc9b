"""A catalogue is a file of images and the metadata that each is to have: CSV, a workbook, or JSON."""
