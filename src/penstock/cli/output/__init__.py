"""What commands print: tables, times, money, progress."""
