"""A catalogue is a file of images and the metadata that each should have: CSV, a workbook, or JSON."""
