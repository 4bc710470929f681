"""An experiment and its rounds: what is specified, how one round goes, and what the model is then worth."""
