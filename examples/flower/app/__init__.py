"""A Flower app: softmax regression on digits."""
