"""What can go wrong inside the domain without anybody having asked for something wrong."""

from phoenix.errors import PhoenixError


class LeaseLost(PhoenixError):
    """This attempt is no longer the task's: it ran out of its lease, and what it wrote is void."""
