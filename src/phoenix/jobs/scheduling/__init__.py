"""Which task runs next and when: fair queue, dispatch, affinity, positions and estimates."""
