"""WHAT IS LEARNED: data sets in MPII layout. Runs in: the CLI process and the training workers."""
