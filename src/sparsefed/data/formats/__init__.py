"""One module per file format, and where files are looked for."""
