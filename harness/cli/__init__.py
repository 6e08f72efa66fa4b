"""The command line: parser, one thin function per command, and all that prints reports as text."""
