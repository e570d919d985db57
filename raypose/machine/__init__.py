"""The machine that a command runs on: what is wrong with it, and how busy it is."""
