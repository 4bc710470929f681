"""What everything else stands on: specs, errors, seeds, shapes, atomic files, memory."""
