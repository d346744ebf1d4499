"""The platform's routes: three APIs of the protocol, one for the web chat, and files."""
