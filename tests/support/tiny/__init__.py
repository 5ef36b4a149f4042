"""A language model of a few hundred kilobytes, made on the spot: for engines that need a real one."""
