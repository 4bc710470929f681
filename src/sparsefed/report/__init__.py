"""What people look at: tables in the terminal, pictures, lists of runs and of parts, the demonstration."""
