"""The words of Penstock: values, states, errors and ports. Imports nothing of the other rooms and does no I/O."""
