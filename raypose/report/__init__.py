"""WHAT IT COMES TO: an experiment on one page, and as event files. Runs in: command line, driver."""
