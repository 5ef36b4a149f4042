"""The process between a broker and a gateway: records become tasks, and what became of tasks is published."""
