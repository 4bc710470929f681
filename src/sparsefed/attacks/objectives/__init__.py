"""What an attacker wants of the model: one file per goal."""
