"""One module a sub-command: HELP, EPILOG, configure(parser), execute(arguments)."""
