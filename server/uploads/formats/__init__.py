"""The image formats, one a file: each reads a whole file's structure and decodes no pixel of it.

Pure functions over bytes (or a mapped file) that raise nothing but `Refused`. Each walks the parts
of the file to its end, so a file that is cut off is told here, whatever a decoder forgives.
"""
