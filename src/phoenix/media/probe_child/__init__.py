"""The child process that reads the files of strangers. It gets no settings.

Imports nothing else of Phoenix but `still_pictures`, which imports only libraries.
"""
