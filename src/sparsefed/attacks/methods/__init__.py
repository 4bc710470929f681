"""How hostile uploads are made: one file per published attack."""
