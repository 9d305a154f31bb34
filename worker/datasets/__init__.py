"""Data sets in the worker: pictures out of a zip, what is done to them, and a zip of the result. No torch here.

`models.data_sets` says which zips are taken and what their names mean; here pixels are decoded and written.
"""
