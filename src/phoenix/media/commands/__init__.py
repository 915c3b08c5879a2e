"""Pure functions that return ffmpeg command lines: lists of arguments, without the name of the program.

They run no program, read no file, and put no text of a user into a filter.
"""
