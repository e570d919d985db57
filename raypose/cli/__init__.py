"""The verbs, a module each or for a few of a kind: parse, call one function, print, choose the exit code."""
