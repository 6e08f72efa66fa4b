"""The command line: parser, commands, text output; what the commands compute is elsewhere."""
