"""What crosses the border between clients and server: the updates, their clip, the learning rate."""
