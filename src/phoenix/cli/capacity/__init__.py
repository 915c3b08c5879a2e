"""`phoenix capacity`: computes how many GPU workers a load needs, and their cost. Talks to no server."""
