"""One router per resource. A route reads its request, calls one use case and returns its result."""
