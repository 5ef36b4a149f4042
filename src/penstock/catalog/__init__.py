"""What is offered: models, the names that lead to them, their prices."""
