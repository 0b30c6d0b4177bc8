"""The command line `chainrule`: thin; it parses, calls the library, and shows what came back."""
