"""ffmpeg command lines as pure functions of what is wanted: argument lists without the program's name.

Nothing here runs anything, reads a file, or puts a user's text into a filter.
"""
