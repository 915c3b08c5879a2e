"""Several devices of one worker that make one clip: child processes with the denoisers compute parts of each step."""
