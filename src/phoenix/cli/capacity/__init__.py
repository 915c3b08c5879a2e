"""`phoenix capacity`: how many GPU workers a load needs, and what they cost. Talks to no server."""
