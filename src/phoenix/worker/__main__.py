"""`python -m phoenix.worker`: one worker process, as its supervisor starts it."""

import os
import sys

from phoenix.process_memory import no_garbage_collection

with no_garbage_collection():
    from phoenix.worker.main import main

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # sys.exit would join all threads, and a thread that hangs in a render would keep the process alive for ever.
    os._exit(status)
