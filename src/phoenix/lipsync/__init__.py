"""Moves the lips of a face in step with a sound: features of sound, faces, lip models, and the drawn mouth."""
