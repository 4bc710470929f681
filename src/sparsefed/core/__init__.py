"""Leaf modules that everything else imports: specs, errors, seeds, shapes, atomic files, memory."""
