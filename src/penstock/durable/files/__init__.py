"""Files that organisations keep with us: who owns them, how large they may be, how long they stay."""
